"""Cuts out of a picture: where a thing should be, and where it was found.

A crop is the smallest range of whole pixels that holds the box, at least 2 x 2, moved inwards at the border.  It is
not padded: nothing outside the picture or the box is invented.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.evidence import Detections
from layoutmark.features.images import checked
from layoutmark.layout import Box, Layout
from layoutmark.metrics.matching import CONFIDENCE, likeliest

LEAST = 2
PAINT = 128
"""Grey value, of 255, that takes the place of what is not in a mask."""


def crop(pixels: Pixels, box: Box) -> Pixels:
    """The part of RGB pixels (h, w, 3) under a normalised box; a copy, at least 2 x 2 where the picture is."""
    height, width = checked(pixels).shape[:2]
    x0, y0, x1, y1 = box.cells(width, height)
    left, right = _at_least(x0, x1, width)
    top, bottom = _at_least(y0, y1, height)
    return pixels[top:bottom, left:right].copy()


def masked(pixels: Pixels, mask: npt.NDArray[np.bool_]) -> Pixels:
    """RGB pixels (h, w, 3) with all that is outside a mask painted `PAINT` grey.

    A mask on a grid of another size is read at the centre of each pixel.
    """
    height, width = checked(pixels).shape[:2]
    return np.where(on_grid(mask, height, width)[..., None], pixels, np.uint8(PAINT))


def on_grid(mask: npt.NDArray[np.bool_], height: int, width: int) -> npt.NDArray[np.bool_]:
    """A mask (h, w) on a grid (height, width): the value of the cell that the centre of each pixel lies in."""
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(np.intp)
    return np.asarray(mask[np.ix_(rows, columns)], dtype=np.bool_)


def target_crops(pixels: Pixels, layout: Layout) -> list[Pixels]:
    """The crop under each instance's own box, in the layout's order."""
    return [crop(pixels, instance.box) for instance in layout.instances]


def detected_boxes(layout: Layout, detections: Detections, confidence: float = CONFIDENCE) -> list[Box | None]:
    """For each instance the box of the detection taken for it, wherever it lies, or None if none is left.

    One-to-one within the category, by generalised IoU, over detections of at least `confidence`.
    """
    taken = likeliest(layout, detections, confidence)
    return [Box(*(float(c) for c in detections.boxes[j])) if j >= 0 else None for j in taken]


def detected_crops(
    pixels: Pixels, layout: Layout, detections: Detections, confidence: float = CONFIDENCE
) -> list[Pixels | None]:
    """The crop under each instance's detection, in the layout's order; None where nothing was found."""
    boxes = detected_boxes(layout, detections, confidence)
    return [None if box is None else crop(pixels, box) for box in boxes]


def _at_least(first: int, last: int, size: int) -> tuple[int, int]:
    """Widen a range to `LEAST` pixels, to the right first, to the left at the border."""
    last = min(size, max(last, first + LEAST))
    return max(0, min(first, last - LEAST)), last
