"""Masks of detections as stored features: run lengths, one text a mask, on one grid a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.features.crops import on_grid
from layoutmark.layout import Canvas, Mask

Arrays = dict[str, npt.NDArray[Any]]


def packed(masks: Sequence[Mask | None]) -> Arrays:
    """Arrays ``masks`` (n,), texts, empty where there is no mask, and ``grid``: height and width, 0 without masks."""
    known = [m for m in masks if m is not None]
    grid = (known[0].height, known[0].width) if known else (0, 0)
    return {"masks": np.array(["" if m is None else m.counts for m in masks], dtype=str), "grid": np.array(grid)}


def unpacked(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[Mask | None, ...]:
    """What `packed` was given."""
    height, width = (int(v) for v in arrays["grid"])
    return tuple(Mask(height, width, str(counts)) if counts else None for counts in arrays["masks"])


def on_canvas(mask: Mask, canvas: Canvas) -> Mask:
    """The mask on the pixels of a canvas: itself if it has that size, else the nearest of its pixels for each."""
    if (mask.height, mask.width) == (canvas.height, canvas.width):
        return mask
    return Mask.from_array(on_grid(mask.array(), canvas.height, canvas.width))
