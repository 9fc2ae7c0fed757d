"""Crops of an image: where an instance should be, and where it was detected.

A crop is the smallest range of whole pixels that contains the box, at least 2 x 2, moved inwards at the border.  It is
never padded.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.evidence import Detections
from layoutmark.features.images import check_pixels
from layoutmark.layout import Box, Layout
from layoutmark.metrics.matching import MIN_CONFIDENCE, match_nearest

MIN_CROP_SIDE = 2
MASK_FILL_GREY = 128
"""Grey value, of 255, that replaces pixels outside a mask."""


def crop(pixels: Pixels, box: Box) -> Pixels:
    """Return a copy of the RGB pixels (h, w, 3) under a normalised box, at least 2 x 2 if the image is."""
    height, width = check_pixels(pixels).shape[:2]
    x0, y0, x1, y1 = box.to_cells(width, height)
    left, right = _widen(x0, x1, width)
    top, bottom = _widen(y0, y1, height)
    return pixels[top:bottom, left:right].copy()


def paint_outside_mask(pixels: Pixels, mask: npt.NDArray[np.bool_]) -> Pixels:
    """Return RGB pixels (h, w, 3) with everything outside a mask painted `MASK_FILL_GREY`.

    A mask of another size is resampled at the centre of each pixel.
    """
    height, width = check_pixels(pixels).shape[:2]
    return np.where(resample_mask(mask, height, width)[..., None], pixels, np.uint8(MASK_FILL_GREY))


def resample_mask(mask: npt.NDArray[np.bool_], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Resample a mask (h, w) to (height, width): each pixel takes the cell that its centre is in."""
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(np.intp)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(np.intp)
    return np.asarray(mask[np.ix_(rows, columns)], dtype=np.bool_)


def target_crops(pixels: Pixels, layout: Layout) -> list[Pixels]:
    """Return the crop under each instance's target box, in the layout's order."""
    return [crop(pixels, instance.box) for instance in layout.instances]


def detected_boxes(layout: Layout, detections: Detections, confidence: float = MIN_CONFIDENCE) -> list[Box | None]:
    """Return the detected box matched to each instance, wherever it is, or None if there is none.

    Matching is one-to-one within a category, by generalised IoU, over detections of at least `confidence`.
    """
    matches = match_nearest(layout, detections, confidence)
    return [Box(*(float(c) for c in detections.boxes[j])) if j >= 0 else None for j in matches]


def detected_crops(
    pixels: Pixels, layout: Layout, detections: Detections, confidence: float = MIN_CONFIDENCE
) -> list[Pixels | None]:
    """Return the crop under each instance's matched detection, in the layout's order; None where there is none."""
    boxes = detected_boxes(layout, detections, confidence)
    return [None if box is None else crop(pixels, box) for box in boxes]


def _widen(start: int, stop: int, size: int) -> tuple[int, int]:
    """Widen a range to `MIN_CROP_SIDE` pixels: to the right first, to the left at the border."""
    stop = min(size, max(stop, start + MIN_CROP_SIDE))
    return max(0, min(start, stop - MIN_CROP_SIDE)), stop
