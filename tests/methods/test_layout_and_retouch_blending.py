"""The subject's mask from attention and segmentation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from layoutmark.methods.layout_and_retouch.blending import (
    dilate,
    downsample_mask,
    feather,
    rescale_to_unit,
    subject_mask,
)


@pytest.fixture
def segmentation() -> np.ndarray:
    mask = np.zeros((32, 32), dtype=bool)
    mask[8:20, 10:18] = True
    return mask


def blob(row: int, column: int, radius: float) -> np.ndarray:
    ys, xs = np.mgrid[:32, :32]
    return np.clip(1.5 - np.hypot(ys - row, xs - column) / radius, 0, 1)


def test_attention_equal_to_the_segmentation_returns_it(segmentation) -> None:
    assert np.array_equal(subject_mask(segmentation.astype(float), segmentation), segmentation)


def test_distant_attention_is_dropped_and_strong_attention_nearby_added(segmentation) -> None:
    stray = blob(28, 28, 2)
    near = np.maximum(segmentation.astype(float), 0.0)
    near[8:20, 18] = 0.9
    mask = subject_mask(np.maximum(near, stray), segmentation)
    assert not mask[24:, 24:].any()
    assert mask[8:20, 18].all()
    assert (mask & segmentation).sum() == segmentation.sum()


def test_the_deep_part_of_the_segmentation_needs_no_attention(segmentation) -> None:
    attention = np.zeros((32, 32))
    attention[0, 0] = 1.0
    mask = subject_mask(attention, segmentation)
    assert mask[12:16, 13:15].all()
    assert not mask[8, 10]
    assert not mask[0, 0]


def test_holes_are_filled(segmentation) -> None:
    attention = segmentation.astype(float)
    ring = segmentation.copy()
    ring[12:15, 13:15] = False
    attention[12:15, 13:15] = 0.0
    assert subject_mask(attention, ring)[12:15, 13:15].all()


def test_shifting_both_inputs_shifts_the_mask(segmentation) -> None:
    attention = np.maximum(blob(14, 14, 5), 0.3 * blob(3, 3, 2))
    shifted = [np.roll(a, (5, 4), (0, 1)) for a in (attention, segmentation)]
    assert np.array_equal(subject_mask(*shifted), np.roll(subject_mask(attention, segmentation), (5, 4), (0, 1)))


@pytest.mark.parametrize("name", ["min_weighted_attention", "min_confident_attention", "min_relative_depth"])
def test_lower_thresholds_never_lose_cells(segmentation, name: str) -> None:
    attention = np.random.default_rng(3).random((32, 32)) * blob(14, 14, 9)
    masks = [subject_mask(attention, segmentation, **{name: value}) for value in (0.2, 0.5, 0.9)]
    assert all((small <= large).all() for large, small in itertools.pairwise(masks))
    assert masks[0].sum() > masks[-1].sum()


def test_attention_or_segmentation_alone_is_enough(segmentation) -> None:
    empty = np.zeros_like(segmentation)
    attention = blob(14, 14, 5)
    assert np.array_equal(subject_mask(None, segmentation), segmentation)
    assert np.array_equal(subject_mask(attention, empty), attention >= 0.5)
    assert not subject_mask(None, empty).any()
    assert subject_mask(attention, np.ones_like(segmentation)).any()


def test_constant_attention_cannot_be_rescaled() -> None:
    assert rescale_to_unit(np.full((4, 4), 0.3)) is None
    rescaled = rescale_to_unit(np.array([[2.0, 4.0], [3.0, 2.0]]))
    assert rescaled is not None
    assert rescaled.tolist() == [[0, 1], [0.5, 0]]


def test_dilation_adds_rings_and_feathering_keeps_constant_masks(segmentation) -> None:
    assert np.array_equal(dilate(segmentation, 0), segmentation)
    twice = dilate(segmentation, 2)
    assert twice.sum() == (12 + 4) * (8 + 4)
    assert np.array_equal(dilate(dilate(segmentation, 1), 1), twice)
    assert np.array_equal(feather(segmentation, 0), segmentation)
    for constant in (np.ones_like(segmentation), np.zeros_like(segmentation)):
        assert np.array_equal(feather(constant, 1.5), constant)
    feathered = feather(segmentation, 1.0)
    assert feathered.sum() == pytest.approx(segmentation.sum()), "blurring preserves the sum"
    assert (feathered[segmentation] >= 0.25).all()
    assert (feathered[~segmentation] <= 0.5).all()


def test_a_cell_half_covered_belongs_to_the_mask() -> None:
    pixels = np.zeros((4, 8), dtype=bool)
    pixels[:2, :2] = pixels[0, 4:6] = pixels[2, 0] = True
    assert downsample_mask(pixels, 2, 4).tolist() == [[True, False, True, False], [False] * 4]
