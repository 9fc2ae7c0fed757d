"""Masks of detections as stored features: one run-length string per mask, on one grid per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.features.crops import resample_mask
from layoutmark.layout import Canvas, Mask

Arrays = dict[str, npt.NDArray[Any]]


def pack_masks(masks: Sequence[Mask | None]) -> Arrays:
    """Return arrays ``masks`` (n,), strings, empty without a mask, and ``grid``: height and width, 0 without masks."""
    known = [m for m in masks if m is not None]
    grid = (known[0].height, known[0].width) if known else (0, 0)
    return {"masks": np.array(["" if m is None else m.counts for m in masks], dtype=str), "grid": np.array(grid)}


def unpack_masks(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[Mask | None, ...]:
    """Return the masks that `pack_masks` was given."""
    height, width = (int(v) for v in arrays["grid"])
    return tuple(Mask(height, width, str(counts)) if counts else None for counts in arrays["masks"])


def mask_on_canvas(mask: Mask, canvas: Canvas) -> Mask:
    """Return a mask resampled to the pixels of a canvas, or the mask itself if it has that size."""
    if (mask.height, mask.width) == (canvas.height, canvas.width):
        return mask
    return Mask.from_array(resample_mask(mask.to_array(), canvas.height, canvas.width))
