"""Masks in COCO's three forms, and the points and scribbles that follow from a mask without chance.

Source of the forms: cocodataset.org, "Data format" (polygons, uncompressed and compressed run lengths).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.ingest.ledger import Skip
from layoutmark.layout import Canvas, Mask, Point

STROKE = 10
"""Most points of a scribble."""
LARGEST = 1 << 28
"""Most pixels of a mask: beyond this a file is wrong, not large."""


def mask_of(segmentation: Any, canvas: Canvas) -> Mask:
    """A mask on the pixels of `canvas` from polygons [[x, y, x, y, ...], ...] in pixels or {"size", "counts"}.

    Raises Skip if it is none of these, of another size than the canvas, or empty.
    """
    from pycocotools import mask as coco

    height, width = canvas.height, canvas.width
    if height * width > LARGEST:
        raise Skip("canvas is too large for a mask")
    if isinstance(segmentation, list):
        rle = coco.merge(coco.frPyObjects(_polygons(segmentation), height, width))
    elif isinstance(segmentation, dict):
        counts = segmentation.get("counts")
        if segmentation.get("size") != [height, width]:
            raise Skip("mask has another size than its picture")
        if isinstance(counts, list):
            if not all(type(n) is int and n >= 0 for n in counts) or sum(counts) != height * width:
                raise Skip("run lengths do not fill the picture")
            rle = coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)
        elif isinstance(counts, str) and _runs(counts) == height * width:
            rle = {"size": [height, width], "counts": counts.encode("ascii")}
        else:
            raise Skip("run lengths do not fill the picture")
    else:
        raise Skip("mask is neither polygons nor run lengths")
    if coco.area(rle) == 0:
        raise Skip("mask is empty")
    return Mask(height, width, rle["counts"].decode("ascii"))


def _polygons(value: list[Any]) -> list[list[float]]:
    polygons = value if value and isinstance(value[0], list) else [value]
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise Skip("polygon has fewer than three points")
        # Written so that NaN fails too, and before any C code sees the numbers.
        if not all(type(v) in (int, float) and abs(v) < 1e6 for v in polygon):
            raise Skip("polygon is not finite numbers")
    return polygons


def _runs(counts: str) -> int:
    """Pixels that compressed run lengths cover; -1 for what is no run-length text (5 bits a character)."""
    lengths: list[int] = []
    value = shift = 0
    for character in counts:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 40:
            return -1
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return sum(lengths) if shift == 0 and all(n >= 0 for n in lengths) else -1


def marks(mask: Mask) -> tuple[Point, tuple[Point, ...]]:
    """A point and a scribble (at most 10 points, polyline) inside a mask, in fractions of its grid.

    The scribble goes along the longer side of the mask's extent, through evenly spaced lines across it, and on each
    through the middle one of the mask's pixels; the point is the scribble's middle.  No chance is involved.
    """
    from pycocotools import mask as coco

    rle = {"size": [mask.height, mask.width], "counts": mask.counts.encode("ascii")}
    x, y, w, h = (int(v) for v in coco.toBbox(rle))
    part: npt.NDArray[np.uint8] = coco.decode(rle)[y : y + h, x : x + w]
    along = part if w >= h else part.T
    filled = np.flatnonzero(along.any(axis=0))
    lines = filled[np.linspace(0, len(filled) - 1, min(STROKE, len(filled)), dtype=int)]
    stacked = along[:, lines].cumsum(axis=0, dtype=np.int32)
    middle = (stacked >= (stacked[-1] + 1) // 2).argmax(axis=0)
    xs, ys = (lines, middle) if w >= h else (middle, lines)
    across = ((xs + x + 0.5) / mask.width).round(6).tolist()
    down = ((ys + y + 0.5) / mask.height).round(6).tolist()
    stroke = tuple(zip(across, down, strict=True))
    return stroke[len(stroke) // 2], stroke


def regridded(mask: Mask, canvas: Canvas) -> Mask:
    """The mask on the pixels of a canvas: each takes the value of the mask's pixel at its middle."""
    if (mask.width, mask.height) == (canvas.width, canvas.height):
        return mask
    down = (np.arange(canvas.height) * 2 + 1) * mask.height // (2 * canvas.height)
    across = (np.arange(canvas.width) * 2 + 1) * mask.width // (2 * canvas.width)
    return Mask.from_array(mask.array()[np.ix_(down, across)])


def extent(mask: Mask) -> tuple[float, float, float, float]:
    """Corners x0, y0, x1, y1 of a mask's bounding box in fractions of its grid."""
    from pycocotools import mask as coco

    x, y, w, h = coco.toBbox({"size": [mask.height, mask.width], "counts": mask.counts.encode("ascii")}).tolist()
    return (x / mask.width, y / mask.height, (x + w) / mask.width, (y + h) / mask.height)
