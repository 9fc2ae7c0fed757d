"""The subject's mask out of attention and segmentation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from layoutmark.methods.layout_and_retouch.blending import grown, on_grid, soft_edged, subject_mask, unit_range


@pytest.fixture
def segment() -> np.ndarray:
    mask = np.zeros((32, 32), dtype=bool)
    mask[8:20, 10:18] = True
    return mask


def blob(row: int, column: int, radius: float) -> np.ndarray:
    ys, xs = np.mgrid[:32, :32]
    return np.clip(1.5 - np.hypot(ys - row, xs - column) / radius, 0, 1)


def test_attention_that_is_the_segmentation_gives_it_back(segment) -> None:
    assert np.array_equal(subject_mask(segment.astype(float), segment), segment)


def test_attention_far_away_vanishes_and_a_silhouette_may_grow(segment) -> None:
    stray = blob(28, 28, 2)
    near = np.maximum(segment.astype(float), 0.0)
    near[8:20, 18] = 0.9
    found = subject_mask(np.maximum(near, stray), segment)
    assert not found[24:, 24:].any()
    assert found[8:20, 18].all()
    assert (found & segment).sum() == segment.sum()


def test_without_attention_inside_the_deep_part_stays(segment) -> None:
    attention = np.zeros((32, 32))
    attention[0, 0] = 1.0
    found = subject_mask(attention, segment)
    assert found[12:16, 13:15].all()
    assert not found[8, 10]
    assert not found[0, 0]


def test_holes_are_filled(segment) -> None:
    attention = segment.astype(float)
    ring = segment.copy()
    ring[12:15, 13:15] = False
    attention[12:15, 13:15] = 0.0
    assert subject_mask(attention, ring)[12:15, 13:15].all()


def test_moving_both_moves_the_mask(segment) -> None:
    attention = np.maximum(blob(14, 14, 5), 0.3 * blob(3, 3, 2))
    moved = [np.roll(a, (5, 4), (0, 1)) for a in (attention, segment)]
    assert np.array_equal(subject_mask(*moved), np.roll(subject_mask(attention, segment), (5, 4), (0, 1)))


@pytest.mark.parametrize("name", ["core", "sure", "deep"])
def test_lower_thresholds_never_lose_cells(segment, name: str) -> None:
    attention = np.random.default_rng(3).random((32, 32)) * blob(14, 14, 9)
    masks = [subject_mask(attention, segment, **{name: value}) for value in (0.2, 0.5, 0.9)]
    assert all((small <= large).all() for large, small in itertools.pairwise(masks))
    assert masks[0].sum() > masks[-1].sum()


def test_one_of_the_two_is_enough(segment) -> None:
    empty = np.zeros_like(segment)
    attention = blob(14, 14, 5)
    assert np.array_equal(subject_mask(None, segment), segment)
    assert np.array_equal(subject_mask(attention, empty), attention >= 0.5)
    assert not subject_mask(None, empty).any()
    assert subject_mask(attention, np.ones_like(segment)).any()


def test_attention_alike_everywhere_says_nothing() -> None:
    assert unit_range(np.full((4, 4), 0.3)) is None
    stretched = unit_range(np.array([[2.0, 4.0], [3.0, 2.0]]))
    assert stretched is not None
    assert stretched.tolist() == [[0, 1], [0.5, 0]]


def test_growing_adds_rings_and_softening_keeps_what_is_even(segment) -> None:
    assert np.array_equal(grown(segment, 0), segment)
    twice = grown(segment, 2)
    assert twice.sum() == (12 + 4) * (8 + 4)
    assert np.array_equal(grown(grown(segment, 1), 1), twice)
    assert np.array_equal(soft_edged(segment, 0), segment)
    for even in (np.ones_like(segment), np.zeros_like(segment)):
        assert np.array_equal(soft_edged(even, 1.5), even)
    soft = soft_edged(segment, 1.0)
    assert soft.sum() == pytest.approx(segment.sum()), "what one side loses the other gains"
    assert (soft[segment] >= 0.25).all()
    assert (soft[~segment] <= 0.5).all()


def test_half_a_cell_counts() -> None:
    pixels = np.zeros((4, 8), dtype=bool)
    pixels[:2, :2] = pixels[0, 4:6] = pixels[2, 0] = True
    assert on_grid(pixels, 2, 4).tolist() == [[True, False, True, False], [False] * 4]
