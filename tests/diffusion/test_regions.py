"""Boxes and masks on the latent grid and on coarser layers."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layoutmark.diffusion import box_region, downsample_region, mask_region
from layoutmark.layout import Box

eighths = st.tuples(st.integers(0, 63), st.integers(0, 63), st.integers(1, 64), st.integers(1, 64)).filter(
    lambda b: b[0] < b[2] and b[1] < b[3]
)


def test_regions_are_half_open_with_y_as_rows() -> None:
    region = box_region(Box(0.25, 0.5, 0.5, 0.75), 8, 8)
    assert region.nonzero().tolist() == [[4, 2], [4, 3], [5, 2], [5, 3]]


def test_partly_covered_cells_belong_to_a_region_and_no_region_is_empty() -> None:
    assert box_region(Box(0.49, 0.49, 0.51, 0.51), 4, 4).sum() == 4
    assert box_region(Box(0.3, 0.3, 0.301, 0.301), 4, 4).sum() == 1


@given(eighths)
@settings(max_examples=50, deadline=None)
def test_a_mirrored_box_has_a_mirrored_region(cells: tuple[int, int, int, int]) -> None:
    box = Box(*(c / 64 for c in cells))
    assert torch.equal(box_region(box.flipped(), 64, 64), box_region(box, 64, 64).flip(1))


@given(eighths)
@settings(max_examples=50, deadline=None)
def test_the_mask_of_a_box_has_the_region_of_the_box(cells: tuple[int, int, int, int]) -> None:
    x0, y0, x1, y1 = cells
    pixels = np.zeros((64, 64), dtype=bool)
    pixels[y0:y1, x0:x1] = True
    box = Box(*(c / 64 for c in cells))
    assert torch.equal(mask_region(pixels, 16, 16), box_region(box, 16, 16))


def test_a_mask_smaller_than_the_grid_is_enlarged() -> None:
    assert torch.equal(
        mask_region(np.eye(2, dtype=bool), 4, 4),
        torch.eye(2, dtype=torch.bool).repeat_interleave(2, 0).repeat_interleave(2, 1),
    )


def test_layers_take_every_nth_cell_from_zero() -> None:
    region = torch.zeros(9, 12, dtype=torch.bool)
    region[4, 8] = region[3, 3] = True
    coarse = downsample_region(region, 4)
    assert coarse.shape == (3, 3)
    assert coarse.nonzero().tolist() == [[1, 2]]


def test_small_boxes_vanish_unless_one_cell_is_kept() -> None:
    regions = torch.stack(
        [box_region(Box(9 / 64, 9 / 64, 15 / 64, 15 / 64), 64, 64), box_region(Box(0, 0, 1, 1), 64, 64)]
    )
    assert downsample_region(regions, 8).flatten(1).sum(1).tolist() == [0, 64]
    with_centre = downsample_region(regions, 8, min_one_cell=True)
    assert with_centre[0].nonzero().tolist() == [[1, 1]]
    assert with_centre[1].all()
    # An empty region stays empty, since it has no centre.
    assert not downsample_region(torch.zeros(8, 8, dtype=torch.bool), 4, min_one_cell=True).any()
