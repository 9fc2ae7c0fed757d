"""The mask within which a subject is redrawn: cross-attention cleaned by a segmentation, and completed by it.

Layout-and-Retouch (Kim et al., arXiv 2407.09779) names the ingredients (drop attention outside the segmentation,
distance transform, add confident regions); the constants are ours.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
CORE, SURE = 0.35, 0.8
"""Weighted attention from which a cell belongs to the subject; plain attention that needs only nearness."""
DEEP = 0.5
"""A cell as deep inside the segmentation as this share of the deepest one belongs to the subject in any case."""
REACH = 0.1
"""Attention fades out within this share of the grid's longer side around the segmentation."""
SEEN = 0.5
"""Attention that counts where there is no segmentation."""


def unit_range(attention: Floats) -> Floats | None:
    """Attention (h, w) stretched to [0, 1]; None if it is the same everywhere."""
    low, high = float(attention.min()), float(attention.max())
    return (attention - low) / (high - low) if high > low else None


def on_grid(mask: Bools, height: int, width: int) -> Bools:
    """Cells (height, width) of which a pixel mask, whose sides are multiples of theirs, covers half or more."""
    share = mask.reshape(height, mask.shape[0] // height, width, mask.shape[1] // width).mean((1, 3))
    cells: Bools = share >= 0.5
    return cells


def subject_mask(
    attention: Floats | None, segment: Bools, *, core: float = CORE, sure: float = SURE, deep: float = DEEP
) -> Bools:
    """Cells (h, w) of the subject.

    Args:
        attention: of the subject's tokens, in [0, 1], or None if it says nothing.
        segment: the subject's segmentation on the same grid, which may be empty.
        core: weighted attention from which a cell belongs to the subject.
        sure: attention from which a cell near the segmentation belongs to it.
        deep: share of the greatest depth from which a cell of the segmentation belongs to it.

    Without attention the segmentation stands, without segmentation the attention from 0.5 on; without both it is empty.
    """
    if attention is None or not segment.any():
        return segment.copy() if attention is None else attention >= SEEN
    outside = ndimage.distance_transform_edt(~segment)
    # A border of cells outside, so that a segmentation that fills the picture has a depth.
    inside = ndimage.distance_transform_edt(np.pad(segment, 1))[1:-1, 1:-1]
    near = np.clip(1 - outside / (REACH * max(segment.shape)), 0, 1)
    found = attention * near >= core
    confident = (segment & (inside >= deep * inside.max())) | ((attention >= sure) & (near > 0))
    filled: Bools = ndimage.binary_fill_holes(found | confident)
    return filled


def grown(mask: Bools, cells: int) -> Bools:
    """The mask (h, w) with that many cells added on all sides, corners included."""
    if cells == 0:
        return mask
    larger: Bools = ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=cells)
    return larger


def soft_edged(mask: Bools, deviation: float) -> Floats:
    """The mask (h, w) as weights in [0, 1], its edge softened by a Gaussian of that many cells; 0 leaves it hard."""
    weights = mask.astype(np.float64)
    # What lies beyond the picture is as its border is: a mask that fills the picture stays whole.
    return weights if deviation == 0 else np.clip(ndimage.gaussian_filter(weights, deviation, mode="nearest"), 0, 1)
