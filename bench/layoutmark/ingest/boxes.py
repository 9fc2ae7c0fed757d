"""Boxes as other files write them, turned into the project's one frame; what leaves the canvas is cut off and said."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from layoutmark.ingest.files import refused
from layoutmark.ingest.ledger import Skip
from layoutmark.layout import ROUNDING, Box, Canvas

CLIPPED = "box cut at the edge of the canvas"
ROUNDED = "box passed the edge by rounding"
WHOLE = "box covers the whole canvas"
NEARLY = 1e-5
"""Share of a canvas's side that files round away: a hundredth of a pixel in a thousand."""
Corners = tuple[float, float, float, float]


class Convention(StrEnum):
    """What the four numbers of a box mean."""

    XYXY = "xyxy"
    """Two corners."""
    XYWH = "xywh"
    """Top-left corner and size (COCO)."""
    CXCYWH = "cxcywh"
    """Centre and size (YOLO)."""
    XXYY = "xxyy"
    """Left, right, top, bottom (Open Images)."""


class Units(StrEnum):
    """What the numbers count."""

    FRACTIONS = "fractions"
    PIXELS = "pixels"
    PERCENT = "percent"
    """Hundredths of the canvas."""


SIDES = {Units.FRACTIONS: Canvas(1, 1), Units.PERCENT: Canvas(100, 100)}
"""The canvas on which a unit counts like pixels."""


def corners(values: Sequence[float], convention: Convention, units: Units, canvas: Canvas) -> Corners:
    """Four numbers as x0, y0, x1, y1 in fractions of the canvas; not checked, may lie outside."""
    a, b, c, d = values
    x0, y0, x1, y1 = {
        Convention.XYXY: (a, b, c, d),
        Convention.XYWH: (a, b, a + c, b + d),
        Convention.CXCYWH: (a - c / 2, b - d / 2, a + c / 2, b + d / 2),
        Convention.XXYY: (a, c, b, d),
    }[convention]
    side = SIDES.get(units, canvas)
    return (x0 / side.width, y0 / side.height, x1 / side.width, y1 / side.height)


def numbers_of(box: Box, convention: Convention, units: Units, canvas: Canvas) -> Corners:
    """The four numbers that `corners` reads back as `box`."""
    x0, y0, x1, y1 = box.pixels(SIDES.get(units, canvas))
    return {
        Convention.XYXY: (x0, y0, x1, y1),
        Convention.XYWH: (x0, y0, x1 - x0, y1 - y0),
        Convention.CXCYWH: ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0),
        Convention.XXYY: (x0, x1, y0, y1),
    }[convention]


def placed(found: Corners, repairs: list[str]) -> Box:
    """The box of corners in fractions, cut at the edge of the canvas, which is told in `repairs`.

    Raises Skip for corners that are not finite, inverted, without area, or wholly outside: nothing is guessed.
    """
    x0, y0, x1, y1 = found
    # Written so that NaN fails too.
    if not all(abs(v) < 1e9 for v in found):
        raise Skip("box is not four finite numbers")
    if x1 < x0 or y1 < y0:
        raise Skip("box is inverted")
    if x1 == x0 or y1 == y0:
        raise Skip("box has no area")
    if x1 <= 0 or y1 <= 0 or x0 >= 1 or y0 >= 1:
        raise Skip("box lies outside the canvas")
    if min(found) < -ROUNDING or max(found) > 1 + ROUNDING:
        repairs.append(CLIPPED)
    elif min(found) < 0 or max(found) > 1:
        repairs.append(ROUNDED)
    return Box.clipped(x0, y0, x1, y1)


def covers_all(box: Box) -> bool:
    """Whether a box is the whole canvas, which places nothing."""
    x0, y0, x1, y1 = box.xyxy
    return max(x0, y0, 1 - x1, 1 - y1) <= NEARLY


def check_units(boxes: Sequence[Sequence[float]], units: Units, place: str) -> None:
    """Refuse boxes whose numbers cannot mean what they are said to mean.

    Fractions of which more than half reach beyond 2 are pixels or percent, percent of which more than half reach beyond
    200 are pixels; pixels and percent that never exceed 1 are fractions.
    `boxes` are the numbers as they stand in the file, in any convention.
    """
    if len(boxes) == 0:
        return
    # fmax: what is not a number says nothing of the units.
    largest = np.fmax.reduce(np.abs(np.asarray(boxes, dtype=np.float64)), axis=1)
    most = {Units.FRACTIONS: 2.0, Units.PERCENT: 200.0}.get(units, np.inf)
    if float(np.mean(largest > most)) > 0.5:
        other = "pixels or percent" if units is Units.FRACTIONS else "pixels"
        raise refused(
            place, f"numbers up to {np.nanmax(largest):g}", f"{units} of the canvas", f"Say that they are {other}."
        )
    if units is not Units.FRACTIONS and bool(np.all(largest <= 1)) and bool(np.any(largest > 0)):
        raise refused(
            place, f"no number above {np.nanmax(largest):g}", f"{units} of the canvas", "Say that they are fractions."
        )
