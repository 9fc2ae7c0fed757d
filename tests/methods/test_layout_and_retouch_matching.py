"""Semantic matching: who corresponds to whom, and which matches are trusted."""

from __future__ import annotations

import pytest
import torch

from layoutmark.methods.layout_and_retouch.matching import Match, joint_features, match

CELLS = 6 * 5


@pytest.fixture
def features() -> torch.Tensor:
    """Distinct features (40, 6, 5)."""
    return torch.randn(40, 6, 5, generator=torch.Generator().manual_seed(2))


def test_identical_features_match_themselves(features) -> None:
    found = match(features, features, 0.1)
    assert found.index.tolist() == list(range(CELLS))
    assert found.trusted.all()
    values = torch.randn(2, 3, CELLS, 7)
    assert torch.equal(found.warp(values), values)


def test_a_circular_shift_is_found(features) -> None:
    rolled = torch.roll(features, (2, -1), (1, 2))
    places = torch.arange(CELLS).view(6, 5)
    found = match(features, rolled, 0.1)
    # What the target has at p lies in the rolled reference at p + (2, -1).
    assert torch.equal(found.index.view(6, 5), torch.roll(places, (-2, 1), (0, 1)))
    assert found.trusted.all()
    picture = torch.arange(CELLS).float()[:, None]
    shown = found.warp(torch.roll(picture.view(6, 5), (2, -1), (0, 1)).reshape(CELLS, 1))
    assert torch.equal(shown, picture)


def test_a_match_that_does_not_lead_back_is_not_trusted(features) -> None:
    reference = features.clone()
    reference[:, 1:] = -features[:, 1:]  # only the first row has a counterpart
    found = match(features, reference, 0.1)
    assert found.trusted[:5].all()
    assert not found.trusted[5:].all()
    assert not match(features, features, 0.0).trusted.any()
    assert match(features, reference, 100.0).trusted.all()


def test_principal_components_keep_the_correspondence(features) -> None:
    other = torch.roll(features, 1, 2)
    blocks = [torch.stack([features, other]), torch.stack([features[:8], other[:8]]) * 3]
    for dimensions in (4, 256):
        reduced = joint_features(blocks, (6, 5), dimensions)
        assert reduced.shape == (2, min(dimensions, 40) + min(dimensions, 8), 6, 5)
        assert torch.equal(match(*reduced, 0.1).index, match(features, other, 0.1).index)


def test_coarse_blocks_are_resized() -> None:
    assert joint_features([torch.randn(2, 8, 3, 4), torch.randn(2, 6, 6, 8)], (6, 8), 5).shape == (2, 10, 6, 8)


def test_warp_takes_reference_values_by_index() -> None:
    found = Match(torch.tensor([2, 0, 0]), torch.tensor([True, False, True]))
    assert found.warp(torch.tensor([[1.0], [2.0], [3.0]])).flatten().tolist() == [3.0, 1.0, 1.0]
