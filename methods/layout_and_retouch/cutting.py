"""One subject's mask in a layout image, step by step: segmented once, completed by each step's attention."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from layoutmark.diffusion.regions import box_region
from layoutmark.layout import Box

from .blending import SEEN, Bools, Floats, grown, on_grid, soft_edged, subject_mask
from .segmenting import Pixels, Segmenter

LEAST = 0.1
"""A segmentation that covers a smaller share of its box has failed: colours like the background's end so."""


@dataclass(eq=False)
class Cut:
    """Gives the subject's mask on a grid (h, w); `picture` (H, W, 3) has sides that are multiples of the grid's.

    Without `box` the segmenter is asked for the tight box of the stronger attention around its peak, and for the
    peak.  With it the segmenter is asked for the box, and the mask stays within it, enlarged on all sides by `margin`
    of its side.  A segmentation that leaves its box nearly empty counts as none.
    `notes` say what a reader should know.
    """

    picture: Pixels
    grid: tuple[int, int]
    segmenter: Segmenter
    box: Box | None = None
    margin: float = 0.1
    dilation: int = 0
    """Cells by which the mask grows on all sides, before it is held to its box."""
    feather: float = 0.0
    """Standard deviation, in cells, of the Gaussian that softens the edge; 0 leaves it hard."""
    notes: set[str] = field(default_factory=set)
    _segment: Bools | None = field(default=None, init=False)

    def __call__(self, attention: Floats | None) -> Floats:
        """The mask, in [0, 1], for attention in [0, 1], or None if it says nothing; all 1 if nothing is known."""
        if self._segment is None and (self.box is not None or attention is not None):
            self._segment = self._segmented(attention)
        empty = np.zeros(self.grid, dtype=bool)
        mask = grown(subject_mask(attention, empty if self._segment is None else self._segment), self.dilation)
        if not mask.any():
            self.notes.add("no mask")
            mask = ~empty
        allowed = ~empty if self.box is None else box_region(enlarged(self.box, self.margin), *self.grid).numpy()
        if not (mask & allowed).any():
            self.notes.add("mask outside its box")
            mask = allowed
        weights: Floats = soft_edged(mask & allowed, self.feather) * allowed
        return weights

    def _segmented(self, attention: Floats | None) -> Bools:
        box, point = self.box, None
        if box is None:
            assert attention is not None
            height, width = self.grid
            row, column = np.unravel_index(attention.argmax(), self.grid)
            parts, _ = ndimage.label(attention >= SEEN, np.ones((3, 3)))
            rows, columns = np.nonzero(parts == parts[row, column])
            left, top, right, bottom = (int(n) for n in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
            box = Box(left / width, top / height, right / width, bottom / height)
            point = ((column + 0.5) / width, (row + 0.5) / height)
        found = self.segmenter.segment(self.picture, box, point)
        if found.mean() < LEAST * box.area:
            self.notes.add("no segmentation")
            return np.zeros(self.grid, dtype=bool)
        return on_grid(found, *self.grid)


def enlarged(box: Box, margin: float) -> Box:
    """The box with `margin` of its width and height added on each side, within the canvas."""
    dx, dy = margin * (box.x1 - box.x0), margin * (box.y1 - box.y0)
    return Box.clipped(box.x0 - dx, box.y0 - dy, box.x1 + dx, box.y1 + dy)
