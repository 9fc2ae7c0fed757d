"""Masks in COCO's three formats, and points and scribbles derived from masks deterministically.

Source of the formats: cocodataset.org, "Data format" (polygons, uncompressed and compressed run lengths).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.ingest.ledger import Skip
from layoutmark.layout import Canvas, Mask, Point

MAX_SCRIBBLE_POINTS = 10
MAX_MASK_PIXELS = 1 << 28
"""A larger mask means that the file is wrong."""


def decode_mask(segmentation: Any, canvas: Canvas) -> Mask:
    """Decode a COCO segmentation to a mask of the canvas's size.

    `segmentation` is a list of polygons [[x, y, x, y, ...], ...] in pixels, or a dict of "size" [height, width] and
    "counts", either a list of run lengths or COCO's compressed text.
    Raises Skip if it is neither, if its size is not the canvas's, or if the mask is empty.

    >>> decode_mask([[0, 0, 4, 0, 4, 2, 0, 2]], Canvas(8, 4)).area
    8
    >>> decode_mask({"size": [4, 8], "counts": [0, 16, 16]}, Canvas(8, 4)).area
    16
    """
    from pycocotools import mask as coco

    height, width = canvas.height, canvas.width
    if height * width > MAX_MASK_PIXELS:
        raise Skip("canvas is too large for a mask")
    if isinstance(segmentation, list):
        rle = coco.merge(coco.frPyObjects(_check_polygons(segmentation), height, width))
    elif isinstance(segmentation, dict):
        rle = _check_run_lengths(segmentation, canvas)
    else:
        raise Skip("mask is neither polygons nor run lengths")
    if coco.area(rle) == 0:
        raise Skip("mask is empty")
    return Mask(height, width, rle["counts"].decode("ascii"))


def make_point_and_scribble(mask: Mask) -> tuple[Point, tuple[Point, ...]]:
    """A point and a scribble inside a mask, as (x, y) in fractions of the mask's grid.

    The scribble is a polyline of at most 10 points along the longer side of the mask's bounding box.  It crosses
    evenly spaced columns (or rows) of pixels, each at the median of the mask's pixels there.  The point is the middle
    one of the scribble.  Both are deterministic.

    >>> bar = np.zeros((4, 8), dtype=bool)
    >>> bar[2, :2] = True
    >>> make_point_and_scribble(Mask.from_array(bar))
    ((0.1875, 0.625), ((0.0625, 0.625), (0.1875, 0.625)))
    """
    from pycocotools import mask as coco

    rle = mask.to_rle()
    x, y, w, h = (int(v) for v in coco.toBbox(rle))
    crop: npt.NDArray[np.uint8] = coco.decode(rle)[y : y + h, x : x + w]
    is_wide = w >= h
    lengthwise = crop if is_wide else crop.T
    filled = np.flatnonzero(lengthwise.any(axis=0))
    lines = filled[np.linspace(0, len(filled) - 1, min(MAX_SCRIBBLE_POINTS, len(filled)), dtype=int)]
    cumulative = lengthwise[:, lines].cumsum(axis=0, dtype=np.int32)
    medians = (cumulative >= (cumulative[-1] + 1) // 2).argmax(axis=0)
    columns, rows = (lines, medians) if is_wide else (medians, lines)
    xs = ((columns + x + 0.5) / mask.width).round(6).tolist()
    ys = ((rows + y + 0.5) / mask.height).round(6).tolist()
    scribble = tuple(zip(xs, ys, strict=True))
    return scribble[len(scribble) // 2], scribble


def resample_mask(mask: Mask, canvas: Canvas) -> Mask:
    """Resample a mask to the canvas's size: each pixel takes the value of the mask at the pixel's centre.

    >>> resample_mask(Mask.from_array(np.array([[True, False]])), Canvas(4, 1)).to_array().tolist()
    [[True, True, False, False]]
    """
    if (mask.width, mask.height) == (canvas.width, canvas.height):
        return mask
    rows = (np.arange(canvas.height) * 2 + 1) * mask.height // (2 * canvas.height)
    columns = (np.arange(canvas.width) * 2 + 1) * mask.width // (2 * canvas.width)
    return Mask.from_array(mask.to_array()[np.ix_(rows, columns)])


def mask_bounds(mask: Mask) -> tuple[float, float, float, float]:
    """Bounding box of a mask as x0, y0, x1, y1 in fractions of the mask's grid.

    >>> mask_bounds(Mask.from_array(np.array([[False, True], [False, False]])))
    (0.5, 0.0, 1.0, 0.5)
    """
    from pycocotools import mask as coco

    x, y, w, h = coco.toBbox(mask.to_rle()).tolist()
    return (x / mask.width, y / mask.height, (x + w) / mask.width, (y + h) / mask.height)


def _check_run_lengths(segmentation: dict[str, Any], canvas: Canvas) -> Any:
    """Run lengths of either kind in the compressed form of pycocotools.  Raises Skip if they do not fit the canvas."""
    from pycocotools import mask as coco

    height, width = canvas.height, canvas.width
    counts = segmentation.get("counts")
    if segmentation.get("size") != [height, width]:
        raise Skip("mask has another size than its picture")
    if isinstance(counts, list):
        if not all(type(n) is int and n >= 0 for n in counts) or sum(counts) != height * width:
            raise Skip("run lengths do not fill the picture")
        return coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    if isinstance(counts, str) and _count_run_length_pixels(counts) == height * width:
        return {"size": [height, width], "counts": counts.encode("ascii")}
    raise Skip("run lengths do not fill the picture")


def _check_polygons(value: list[Any]) -> list[list[float]]:
    polygons = value if value and isinstance(value[0], list) else [value]
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise Skip("polygon has fewer than three points")
        # Written so that NaN fails too; C code must not see such numbers.
        if not all(type(v) in (int, float) and abs(v) < 1e6 for v in polygon):
            raise Skip("polygon is not finite numbers")
    return polygons


def _count_run_length_pixels(counts: str) -> int:
    """Pixels that compressed run lengths (5 bits per character) cover; -1 if the text is not in that format."""
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
