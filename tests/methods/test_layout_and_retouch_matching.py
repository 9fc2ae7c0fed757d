"""Semantic matching: corresponding cells, and which matches are trusted."""

from __future__ import annotations

import pytest
import torch

from layoutmark.methods.layout_and_retouch.matching import Match, match_features, reduce_features

CELLS = 6 * 5


@pytest.fixture
def features() -> torch.Tensor:
    """Distinct features (40, 6, 5)."""
    return torch.randn(40, 6, 5, generator=torch.Generator().manual_seed(2))


def test_identical_features_match_themselves(features) -> None:
    match = match_features(features, features, 0.1)
    assert match.reference_cells.tolist() == list(range(CELLS))
    assert match.is_trusted.all()
    values = torch.randn(2, 3, CELLS, 7)
    assert torch.equal(match.warp(values), values)


def test_a_circular_shift_is_recovered(features) -> None:
    rolled = torch.roll(features, (2, -1), (1, 2))
    cells = torch.arange(CELLS).view(6, 5)
    match = match_features(features, rolled, 0.1)
    # The target cell p corresponds to the rolled reference cell p + (2, -1).
    assert torch.equal(match.reference_cells.view(6, 5), torch.roll(cells, (-2, 1), (0, 1)))
    assert match.is_trusted.all()
    values = torch.arange(CELLS).float()[:, None]
    warped = match.warp(torch.roll(values.view(6, 5), (2, -1), (0, 1)).reshape(CELLS, 1))
    assert torch.equal(warped, values)


def test_a_match_that_fails_the_cycle_check_is_not_trusted(features) -> None:
    reference = features.clone()
    reference[:, 1:] = -features[:, 1:]  # only the first row has a counterpart
    match = match_features(features, reference, 0.1)
    assert match.is_trusted[:5].all()
    assert not match.is_trusted[5:].all()
    assert not match_features(features, features, 0.0).is_trusted.any()
    assert match_features(features, reference, 100.0).is_trusted.all()


def test_principal_components_keep_the_correspondence(features) -> None:
    other = torch.roll(features, 1, 2)
    blocks = [torch.stack([features, other]), torch.stack([features[:8], other[:8]]) * 3]
    for dimensions in (4, 256):
        reduced = reduce_features(blocks, (6, 5), dimensions)
        assert reduced.shape == (2, min(dimensions, 40) + min(dimensions, 8), 6, 5)
        expected = match_features(features, other, 0.1).reference_cells
        assert torch.equal(match_features(*reduced, 0.1).reference_cells, expected)


def test_coarse_blocks_are_resized() -> None:
    assert reduce_features([torch.randn(2, 8, 3, 4), torch.randn(2, 6, 6, 8)], (6, 8), 5).shape == (2, 10, 6, 8)


def test_warp_takes_reference_values_by_index() -> None:
    match = Match(torch.tensor([2, 0, 0]), torch.tensor([True, False, True]))
    assert match.warp(torch.tensor([[1.0], [2.0], [3.0]])).flatten().tolist() == [3.0, 1.0, 1.0]
