"""Masks in COCO's JSON form, checked before pycocotools sees them.

pycocotools trusts what it is given: run lengths that do not fill the picture read beyond it or never end, and masks of
two sizes have an IoU of -1.  So run lengths are read here first.
Source of the compressed form: cocoapi, common/maskApi.c (rleToString): five bits a character from 48 up, bit 32 says
that more follow, bit 16 of the last one is the sign; from the fourth on a length is what it adds to the last but one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

MOST_PIXELS = 2**32 - 1
"""pycocotools counts pixels in 32 bits."""
FARTHEST = 10
"""How many sides of its picture a polygon's corner may lie away: farther ones are in another unit."""


class Unreadable(ValueError):
    """What is wrong with a mask: `found` and what was `expected`."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found)
        self.found, self.expected = found, expected


def read_mask(mask: Any, height: Any, width: Any) -> dict[str, Any]:
    """The compressed form of pycocotools, of a list of polygons (pixels) or of run lengths, plain or compressed.

    The picture's size may be missing where run lengths give theirs.  Raises Unreadable.
    """
    from pycocotools import mask as masks

    known = height is not None or width is not None
    if known:
        _check_size([height, width], "the picture's size")
    if isinstance(mask, list):
        if not known:
            raise Unreadable("a picture of unknown size", "height and width of the image, for polygons")
        _check_polygons(mask, height, width)
        merged: dict[str, Any] = masks.merge(masks.frPyObjects(mask, height, width))
        return merged
    if not isinstance(mask, dict) or not isinstance(mask.get("counts"), list | str):
        raise Unreadable("neither", "polygons or run lengths (size, counts)")
    size = mask.get("size")
    if not isinstance(size, list) or len(size) != 2:
        raise Unreadable(f"size {size!r}", "height and width")
    _check_size(size, "size")
    if known and size != [height, width]:
        raise Unreadable(f"a mask of {size[0]} x {size[1]}", f"the picture's {height} x {width} (height, width)")
    counts = mask["counts"]
    lengths = _compressed(counts) if isinstance(counts, str) else _plain(counts)
    if (lengths < 0).any() or lengths.sum() != size[0] * size[1]:
        found = "a run length below 0" if (lengths < 0).any() else f"run lengths that add up to {lengths.sum()}"
        raise Unreadable(found, f"{size[0] * size[1]}, the number of pixels")
    rle: dict[str, Any] = masks.frPyObjects({"size": size, "counts": lengths.tolist()}, *size)
    return rle


def _check_size(size: Any, what: str) -> None:
    whole = all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in size)
    if not whole or size[0] * size[1] > MOST_PIXELS:
        raise Unreadable(
            f"{what} {size[0]!r} x {size[1]!r}", "whole numbers from 1 up (height, width), below 2^32 pixels"
        )


def _check_polygons(polygons: list[Any], height: int, width: int) -> None:
    if not polygons or any(not isinstance(p, list) or len(p) < 6 or len(p) % 2 for p in polygons):
        raise Unreadable("a polygon of other than x, y pairs", "polygons of three points or more")
    far = FARTHEST * max(height, width)
    for value in (v for polygon in polygons for v in polygon):
        # NaN is within no bounds
        if isinstance(value, bool) or not isinstance(value, int | float) or not -far <= value <= far:
            raise Unreadable(f"{value!r}", f"numbers in pixels of a picture of {height} x {width} (height, width)")


def _plain(counts: list[Any]) -> npt.NDArray[np.int64]:
    for value in counts:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_PIXELS:
            raise Unreadable(f"run length {value!r}", "whole numbers from 0 up")
    return np.array(counts, dtype=np.int64)


def _compressed(text: str) -> npt.NDArray[np.int64]:
    codes = np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.int64) - 48
    more = (codes & 32) != 0
    ends = np.flatnonzero(~more)
    if not len(ends) or ends[-1] != len(codes) - 1 or codes.min() < 0 or codes.max() > 63:
        raise Unreadable("counts that are no compressed run lengths", "what pycocotools writes")
    starts = np.concatenate([[0], ends[:-1] + 1])
    digits = ends - starts + 1
    if digits.max() > 7:
        raise Unreadable("a compressed run length of more than 32 bits", "what pycocotools writes")
    place = 5 * (np.arange(len(codes)) - np.repeat(starts, digits))
    lengths = np.add.reduceat((codes & 31) << place, starts)
    lengths -= np.where(codes[ends] & 16, np.int64(1) << (5 * digits), 0)
    lengths[1::2], lengths[2::2] = np.cumsum(lengths[1::2]), np.cumsum(lengths[2::2])
    return lengths
