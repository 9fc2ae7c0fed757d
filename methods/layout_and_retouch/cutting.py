"""The mask of one subject in a layout image: segmented once, combined with the attention of every step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from layoutmark.diffusion.regions import box_region
from layoutmark.layout import Box

from .blending import MIN_ATTENTION, Bools, Floats, dilate, downsample_mask, feather, subject_mask
from .segmenting import Pixels, Segmenter

MIN_SEGMENTED_SHARE = 0.1
"""A segmentation that covers less of its box has failed, as happens to subjects with the background's colours."""


@dataclass(eq=False)
class SubjectMask:
    """Computes the subject's mask on a grid (h, w) for `image`, uint8 (H, W, 3), whose sides are multiples of h and w.

    Without `box` the segmenter is prompted with the peak of the attention and the tight box of the strong attention
    around it.  With `box` the segmenter is prompted with the box, and the mask stays within it, enlarged on all sides
    by `margin` times its width or height.  A segmentation that leaves its box nearly empty is discarded.  `notes`
    collects remarks for the run record.
    """

    image: Pixels
    grid: tuple[int, int]
    segmenter: Segmenter
    box: Box | None = None
    margin: float = 0.1
    dilation: int = 0
    """Cells by which the mask is dilated before it is confined to its box."""
    feather: float = 0.0
    """Standard deviation, in cells, of the Gaussian that blurs the mask; 0 disables blurring."""
    notes: set[str] = field(default_factory=set)
    _segmentation: Bools | None = field(default=None, init=False)

    def __call__(self, attention: Floats | None) -> Floats:
        """The mask, (h, w) in [0, 1], given attention (h, w) in [0, 1] or None.

        It is 1 everywhere if neither attention nor segmentation shows the subject.
        """
        if self._segmentation is None and (self.box is not None or attention is not None):
            self._segmentation = self._segment(attention)
        empty = np.zeros(self.grid, dtype=bool)
        mask = subject_mask(attention, empty if self._segmentation is None else self._segmentation)
        mask = dilate(mask, self.dilation)
        if not mask.any():
            self.notes.add("no mask")
            mask = ~empty
        allowed = ~empty if self.box is None else box_region(enlarge_box(self.box, self.margin), *self.grid).numpy()
        if not (mask & allowed).any():
            self.notes.add("mask outside its box")
            mask = allowed
        weights: Floats = feather(mask & allowed, self.feather) * allowed
        return weights

    def _segment(self, attention: Floats | None) -> Bools:
        box, point = self.box, None
        if box is None:
            assert attention is not None
            height, width = self.grid
            row, column = np.unravel_index(attention.argmax(), self.grid)
            components, _ = ndimage.label(attention >= MIN_ATTENTION, np.ones((3, 3)))
            rows, columns = np.nonzero(components == components[row, column])
            left, top, right, bottom = (int(n) for n in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
            box = Box(left / width, top / height, right / width, bottom / height)
            point = ((column + 0.5) / width, (row + 0.5) / height)
        segmentation = self.segmenter.segment(self.image, box, point)
        if segmentation.mean() < MIN_SEGMENTED_SHARE * box.area:
            self.notes.add("no segmentation")
            return np.zeros(self.grid, dtype=bool)
        return downsample_mask(segmentation, *self.grid)


def enlarge_box(box: Box, margin: float) -> Box:
    """Add `margin` times the box's width or height on each side, clipped to the canvas."""
    dx, dy = margin * (box.x1 - box.x0), margin * (box.y1 - box.y0)
    return Box.clipped(box.x0 - dx, box.y0 - dy, box.x1 + dx, box.y1 + dy)
