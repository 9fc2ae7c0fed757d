"""Ranks and chances of being best, on rankings with known answers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics import Place, best_shares, rank_intervals


def test_proven_pairs_narrow_the_ranks() -> None:
    proven = {("a", "c"), ("a", "d"), ("b", "d")}
    assert rank_intervals("abcd", lambda x, y: (x, y) in proven) == [
        Place("a", 1, 2), Place("b", 1, 3), Place("c", 2, 4), Place("d", 3, 4),
    ]  # fmt: skip
    assert rank_intervals("ab", lambda x, y: False) == [Place("a", 1, 2), Place("b", 1, 2)]
    assert rank_intervals([], lambda x, y: False) == []


def test_every_order_that_the_tests_allow_lies_inside() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth = list(rng.permutation(5))
        proven = {(x, y) for x, y in itertools.combinations(truth, 2) if rng.random() < 0.4}
        names = [str(x) for x in truth]
        for place in rank_intervals(names, lambda x, y, p=proven: (int(x), int(y)) in p):
            assert place.best <= names.index(place.name) + 1 <= place.worst


def test_chances_follow_the_draws() -> None:
    draws = np.array([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    centred = draws.mean(axis=1)
    assert best_shares(centred, draws) == [0.5, 0.5, 0.0]
    assert best_shares(centred, draws, higher=False) == [0.0, 0.0, 1.0]
    assert best_shares([0.3, 0.3], [[0.1, 0.2], [0.1, 0.2]]) == [0.5, 0.5]


def test_draws_are_moved_onto_their_estimates() -> None:
    # Off-centre draws (AP) of the first method would win every time; its estimate lies below.
    assert best_shares([0.1, 0.5], [[0.8, 0.9], [0.4, 0.6]]) == [0.0, 1.0]


def test_two_normal_means_give_the_known_chance() -> None:
    rng = np.random.default_rng(1)
    got = best_shares([1.0, 0.0], rng.normal([[1.0], [0.0]], 1.0, (2, 40_000)))
    assert got[0] == pytest.approx(0.7602, abs=0.01)  # P(N(1, 2) > 0)


@pytest.mark.parametrize(("draws", "found"), [([[1.0]], "shape (1, 1)"), ([[1.0], [np.nan]], "not finite")])
def test_bad_draws_are_refused(draws: list[list[float]], found: str) -> None:
    with pytest.raises(LayoutmarkError) as caught:
        best_shares([1.0, 2.0], draws)
    assert found in str(caught.value)
    assert str(caught.value).endswith("Resample every method with the same weights.")
