"""The mask in which a subject is redrawn, from cross-attention and a segmentation.

Layout-and-Retouch (Kim et al., arXiv 2407.09779) names the steps (drop attention outside the segmentation, distance
transform, add confident regions); the constants are ours.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
MIN_WEIGHTED_ATTENTION = 0.35
"""A cell with at least this attention, weighted by nearness to the segmentation, belongs to the subject."""
MIN_CONFIDENT_ATTENTION = 0.8
"""A cell with at least this attention, near the segmentation, belongs to the subject."""
MIN_RELATIVE_DEPTH = 0.5
"""A cell at least this deep inside the segmentation, relative to the deepest, belongs to the subject."""
FADE_SHARE = 0.1
"""Outside the segmentation attention fades out over this share of the grid's longer side."""
MIN_ATTENTION = 0.5
"""Without a segmentation, a cell with at least this attention belongs to the subject."""


def rescale_to_unit(attention: Floats) -> Floats | None:
    """Rescale attention (h, w) to [0, 1]; None if it is constant."""
    low, high = float(attention.min()), float(attention.max())
    return (attention - low) / (high - low) if high > low else None


def downsample_mask(mask: Bools, height: int, width: int) -> Bools:
    """Cells (height, width) at least half covered by a pixel mask, whose sides are multiples of the grid's."""
    share = mask.reshape(height, mask.shape[0] // height, width, mask.shape[1] // width).mean((1, 3))
    cells: Bools = share >= 0.5
    return cells


def subject_mask(
    attention: Floats | None,
    segmentation: Bools,
    *,
    min_weighted_attention: float = MIN_WEIGHTED_ATTENTION,
    min_confident_attention: float = MIN_CONFIDENT_ATTENTION,
    min_relative_depth: float = MIN_RELATIVE_DEPTH,
) -> Bools:
    """Cells (h, w) of the subject.

    Args:
        attention: attention to the subject's tokens, (h, w) in [0, 1], or None if it carries no information.
        segmentation: the subject's segmentation (h, w), possibly empty.
        min_weighted_attention: lower bound for attention weighted by nearness to the segmentation.
        min_confident_attention: lower bound for the attention of cells near the segmentation.
        min_relative_depth: lower bound for the depth inside the segmentation, relative to the greatest depth.

    A cell that satisfies any of the three bounds belongs to the subject.  Without attention the result is the
    segmentation; with an empty segmentation it is the cells with attention of at least 0.5.
    """
    if attention is None or not segmentation.any():
        return segmentation.copy() if attention is None else attention >= MIN_ATTENTION
    outside = ndimage.distance_transform_edt(~segmentation)
    # Padding gives a segmentation that fills the image a depth.
    inside = ndimage.distance_transform_edt(np.pad(segmentation, 1))[1:-1, 1:-1]
    near = np.clip(1 - outside / (FADE_SHARE * max(segmentation.shape)), 0, 1)
    attended = attention * near >= min_weighted_attention
    deep = segmentation & (inside >= min_relative_depth * inside.max())
    confident = deep | ((attention >= min_confident_attention) & (near > 0))
    filled: Bools = ndimage.binary_fill_holes(attended | confident)
    return filled


def dilate(mask: Bools, cells: int) -> Bools:
    """Dilate a mask (h, w) by that many cells on all sides, corners included."""
    if cells == 0:
        return mask
    dilated: Bools = ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=cells)
    return dilated


def feather(mask: Bools, deviation: float) -> Floats:
    """The mask (h, w) as weights in [0, 1], blurred by a Gaussian with this deviation in cells; 0 disables it."""
    weights = mask.astype(np.float64)
    # With mode="nearest" a mask that fills the image stays 1 at the border.
    return weights if deviation == 0 else np.clip(ndimage.gaussian_filter(weights, deviation, mode="nearest"), 0, 1)
