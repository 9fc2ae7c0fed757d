"""Masks in COCO's JSON format, validated before they reach pycocotools.

pycocotools trusts its input: run lengths that do not add up to the size of the image make it read out of bounds or loop
forever, and two masks of different size get an IoU of -1. Run lengths are therefore decoded here first.
Source of the compressed form: cocoapi, common/maskApi.c (rleToString): five bits per character, offset by 48; bit 32
means that more characters follow, and bit 16 of the last one is the sign; from the fourth length on, each is stored as
the difference from the last but one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

MAX_PIXELS = 2**32 - 1
"""pycocotools counts pixels in 32 bits."""
MAX_CORNER_DISTANCE_SIDES = 10
"""How far outside the image a polygon's corner may lie, in multiples of the longer side; farther means a wrong unit."""


class InvalidMask(ValueError):
    """A mask that cannot be read: what was `found` and what was `expected`."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found)
        self.found, self.expected = found, expected


def read_mask(mask: Any, height: Any, width: Any) -> dict[str, Any]:
    """Convert a mask to pycocotools' compressed form.

    Args:
        mask: A list of polygons (in pixels), or run lengths, plain or compressed.
        height: Height of the image in pixels; may be None for run lengths, which carry their own size.
        width: Likewise the width.

    Raises InvalidMask.

    >>> read_mask({"size": [2, 3], "counts": [0, 2, 4]}, 2, 3)
    {'size': [2, 3], 'counts': b'024'}
    """
    from pycocotools import mask as masks

    is_size_known = height is not None or width is not None
    if is_size_known:
        _check_size([height, width], "the image's size")
    if isinstance(mask, list):
        if not is_size_known:
            raise InvalidMask("an image of unknown size", "height and width of the image, for polygons")
        _check_polygons(mask, height, width)
        merged: dict[str, Any] = masks.merge(masks.frPyObjects(mask, height, width))
        return merged
    if not isinstance(mask, dict) or not isinstance(mask.get("counts"), list | str):
        raise InvalidMask("neither polygons nor run lengths", "polygons or run lengths (size, counts)")
    size = mask.get("size")
    if not isinstance(size, list) or len(size) != 2:
        raise InvalidMask(f"size {size!r}", "height and width")
    _check_size(size, "size")
    if is_size_known and size != [height, width]:
        raise InvalidMask(f"a mask of {size[0]} x {size[1]}", f"the image's {height} x {width} (height, width)")
    counts = mask["counts"]
    lengths = _decode_compressed(counts) if isinstance(counts, str) else _check_plain(counts)
    if (lengths < 0).any() or lengths.sum() != size[0] * size[1]:
        actual = "a run length below 0" if (lengths < 0).any() else f"run lengths that add up to {lengths.sum()}"
        raise InvalidMask(actual, f"{size[0] * size[1]}, the number of pixels")
    rle: dict[str, Any] = masks.frPyObjects({"size": size, "counts": lengths.tolist()}, *size)
    return rle


def _check_size(size: Any, what: str) -> None:
    are_positive_integers = all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in size)
    if not are_positive_integers or size[0] * size[1] > MAX_PIXELS:
        raise InvalidMask(
            f"{what} {size[0]!r} x {size[1]!r}", "positive whole numbers (height, width), below 2^32 pixels"
        )


def _check_polygons(polygons: list[Any], height: int, width: int) -> None:
    if not polygons or any(not isinstance(p, list) or len(p) < 6 or len(p) % 2 for p in polygons):
        raise InvalidMask("a polygon that is not a list of x, y pairs", "polygons with at least three points")
    max_distance = MAX_CORNER_DISTANCE_SIDES * max(height, width)
    for value in (v for polygon in polygons for v in polygon):
        # NaN fails this comparison too.
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not -max_distance <= value <= max_distance:
            raise InvalidMask(f"{value!r}", f"numbers in pixels of an image of {height} x {width} (height, width)")


def _check_plain(counts: list[Any]) -> npt.NDArray[np.int64]:
    for value in counts:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_PIXELS:
            raise InvalidMask(f"run length {value!r}", "whole numbers, 0 or more")
    return np.array(counts, dtype=np.int64)


def _decode_compressed(text: str) -> npt.NDArray[np.int64]:
    codes = np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.int64) - 48
    continues = (codes & 32) != 0
    ends = np.flatnonzero(~continues)
    if not len(ends) or ends[-1] != len(codes) - 1 or codes.min() < 0 or codes.max() > 63:
        raise InvalidMask("counts that are not compressed run lengths", "what pycocotools writes")
    starts = np.concatenate([[0], ends[:-1] + 1])
    digits = ends - starts + 1
    if digits.max() > 7:
        raise InvalidMask("a compressed run length of more than 32 bits", "what pycocotools writes")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, digits))
    lengths = np.add.reduceat((codes & 31) << shifts, starts)
    lengths -= np.where(codes[ends] & 16, np.int64(1) << (5 * digits), 0)
    lengths[1::2], lengths[2::2] = np.cumsum(lengths[1::2]), np.cumsum(lengths[2::2])
    return lengths
