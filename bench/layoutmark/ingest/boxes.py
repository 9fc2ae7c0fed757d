"""Boxes in any convention and unit, converted to fractions of the canvas and clipped to it.

Nothing is dropped or changed silently: repairs are reported to the caller, and a box that cannot be used raises `Skip`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np

from layoutmark.ingest.files import invalid_input_error
from layoutmark.ingest.ledger import Skip
from layoutmark.layout import MAX_ROUNDING_ERROR, Box, Canvas

CLIPPED = "box cut at the edge of the canvas"
ROUNDED = "box passed the edge by rounding"
COVERS_CANVAS = "box covers the whole canvas"
EDGE_TOLERANCE = 1e-5
"""Rounding error to expect in files, as a fraction of the canvas side: a hundredth of a pixel on 1,000 pixels."""
Corners = tuple[float, float, float, float]
"""x0, y0, x1, y1."""


class Convention(StrEnum):
    """Meaning of the four numbers of a box."""

    XYXY = "xyxy"
    """Two corners."""
    XYWH = "xywh"
    """Top-left corner and size (COCO)."""
    CXCYWH = "cxcywh"
    """Centre and size (YOLO)."""
    XXYY = "xxyy"
    """Left, right, top, bottom (Open Images)."""


class Units(StrEnum):
    """Unit of the numbers of a box."""

    FRACTIONS = "fractions"
    """Fractions of the canvas, 0 to 1."""
    PIXELS = "pixels"
    """Pixels of the canvas."""
    PERCENT = "percent"
    """Hundredths of the canvas, 0 to 100."""


UNIT_CANVASES = {Units.FRACTIONS: Canvas(1, 1), Units.PERCENT: Canvas(100, 100)}
"""Canvas on which these units are pixels."""


def to_corners(values: Sequence[float], convention: Convention, units: Units, canvas: Canvas) -> Corners:
    """Convert four numbers to x0, y0, x1, y1 in fractions of the canvas, without checking them.

    >>> to_corners((16, 8, 32, 24), Convention.XYWH, Units.PIXELS, Canvas(64, 32))
    (0.25, 0.25, 0.75, 1.0)
    """
    a, b, c, d = values
    x0, y0, x1, y1 = {
        Convention.XYXY: (a, b, c, d),
        Convention.XYWH: (a, b, a + c, b + d),
        Convention.CXCYWH: (a - c / 2, b - d / 2, a + c / 2, b + d / 2),
        Convention.XXYY: (a, c, b, d),
    }[convention]
    scale = UNIT_CANVASES.get(units, canvas)
    return (x0 / scale.width, y0 / scale.height, x1 / scale.width, y1 / scale.height)


def to_convention(box: Box, convention: Convention, units: Units, canvas: Canvas) -> Corners:
    """Convert a box to four numbers in a convention and unit: the inverse of `to_corners`.

    >>> to_convention(Box(0.25, 0.25, 0.75, 1), Convention.CXCYWH, Units.PERCENT, Canvas(64, 32))
    (50.0, 62.5, 50.0, 75.0)
    """
    x0, y0, x1, y1 = box.to_pixels(UNIT_CANVASES.get(units, canvas))
    return {
        Convention.XYXY: (x0, y0, x1, y1),
        Convention.XYWH: (x0, y0, x1 - x0, y1 - y0),
        Convention.CXCYWH: ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0),
        Convention.XXYY: (x0, x1, y0, y1),
    }[convention]


def clip_to_canvas(corners: Corners, repairs: list[str]) -> Box:
    """The box with these corners, in fractions of the canvas, clipped to the canvas.

    Clipping adds a reason to `repairs`.
    Raises Skip for corners that are not finite, inverted, without area, or entirely outside the canvas.

    >>> repairs = []
    >>> clip_to_canvas((0.5, 0.5, 1.25, 0.75), repairs)
    Box(x0=0.5, y0=0.5, x1=1.0, y1=0.75)
    >>> repairs
    ['box cut at the edge of the canvas']
    """
    x0, y0, x1, y1 = corners
    # Written so that NaN fails too.
    if not all(abs(v) < 1e9 for v in corners):
        raise Skip("box is not four finite numbers")
    if x1 < x0 or y1 < y0:
        raise Skip("box is inverted")
    if x1 == x0 or y1 == y0:
        raise Skip("box has no area")
    if x1 <= 0 or y1 <= 0 or x0 >= 1 or y0 >= 1:
        raise Skip("box lies outside the canvas")
    if min(corners) < -MAX_ROUNDING_ERROR or max(corners) > 1 + MAX_ROUNDING_ERROR:
        repairs.append(CLIPPED)
    elif min(corners) < 0 or max(corners) > 1:
        repairs.append(ROUNDED)
    return Box.clipped(x0, y0, x1, y1)


def covers_canvas(box: Box) -> bool:
    """Whether a box covers the whole canvas and therefore says nothing about position.

    >>> covers_canvas(Box(0, 0, 1, 1)), covers_canvas(Box(0, 0, 1, 0.5))
    (True, False)
    """
    x0, y0, x1, y1 = box.xyxy
    return max(x0, y0, 1 - x1, 1 - y1) <= EDGE_TOLERANCE


def is_four_numbers(value: Any) -> bool:
    """Whether a value is a list of four numbers that can be represented as finite floats.

    >>> is_four_numbers([0, 0.5, 1, 2]), is_four_numbers([0, 0, 1]), is_four_numbers("0123")
    (True, False, False)
    """
    # Written so that NaN fails too.
    return (
        isinstance(value, list) and len(value) == 4 and all(type(v) in (int, float) and abs(v) < 1e300 for v in value)
    )


def check_units(boxes: Sequence[Sequence[float]], units: Units, where: str) -> None:
    """Refuse boxes that cannot be in the declared units.

    `boxes` are the numbers as the file has them, in any convention; `where` names the file and field.
    Raises LayoutmarkError if more than half of the boxes reach beyond 2 (declared as fractions) or 200 (declared as
    percent), or if no number exceeds 1 although pixels or percent are declared.
    """
    if len(boxes) == 0:
        return
    # fmax ignores NaN, which says nothing about the units.
    largest = np.fmax.reduce(np.abs(np.asarray(boxes, dtype=np.float64)), axis=1)
    limit = {Units.FRACTIONS: 2.0, Units.PERCENT: 200.0}.get(units, np.inf)
    if float(np.mean(largest > limit)) > 0.5:
        likely_units = "pixels or percent" if units is Units.FRACTIONS else "pixels"
        raise invalid_input_error(
            where,
            f"numbers up to {np.nanmax(largest):g}",
            f"{units} of the canvas",
            f"Declare the units as {likely_units}.",
        )
    if units is not Units.FRACTIONS and bool(np.all(largest <= 1)) and bool(np.any(largest > 0)):
        raise invalid_input_error(
            where,
            f"no number above {np.nanmax(largest):g}",
            f"{units} of the canvas",
            "Declare the units as fractions.",
        )
