"""Rank intervals and probabilities of being best, on rankings with known answers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics import RankInterval, best_probabilities, rank_intervals


def test_significant_pairs_narrow_the_ranks() -> None:
    better_pairs = {("a", "c"), ("a", "d"), ("b", "d")}
    assert rank_intervals("abcd", lambda x, y: (x, y) in better_pairs) == [
        RankInterval("a", 1, 2), RankInterval("b", 1, 3), RankInterval("c", 2, 4), RankInterval("d", 3, 4),
    ]  # fmt: skip
    assert rank_intervals("ab", lambda x, y: False) == [RankInterval("a", 1, 2), RankInterval("b", 1, 2)]
    assert rank_intervals([], lambda x, y: False) == []


def test_intervals_contain_every_order_that_the_tests_allow() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        true_order = list(rng.permutation(5))
        better_pairs = {(x, y) for x, y in itertools.combinations(true_order, 2) if rng.random() < 0.4}
        names = [str(x) for x in true_order]
        for interval in rank_intervals(names, lambda x, y, p=better_pairs: (int(x), int(y)) in p):
            assert interval.best <= names.index(interval.name) + 1 <= interval.worst


def test_probabilities_follow_the_draws() -> None:
    draws = np.array([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    centred = draws.mean(axis=1)
    assert best_probabilities(centred, draws) == [0.5, 0.5, 0.0]
    assert best_probabilities(centred, draws, higher_is_better=False) == [0.0, 0.0, 1.0]
    assert best_probabilities([0.3, 0.3], [[0.1, 0.2], [0.1, 0.2]]) == [0.5, 0.5]


def test_draws_are_shifted_onto_their_estimates() -> None:
    # Off-centre draws (AP) of the first method would win every time; its estimate lies below.
    assert best_probabilities([0.1, 0.5], [[0.8, 0.9], [0.4, 0.6]]) == [0.0, 1.0]


def test_two_normal_means_give_the_known_probability() -> None:
    rng = np.random.default_rng(1)
    probabilities = best_probabilities([1.0, 0.0], rng.normal([[1.0], [0.0]], 1.0, (2, 40_000)))
    assert probabilities[0] == pytest.approx(0.7602, abs=0.01)  # P(N(1, 2) > 0)


@pytest.mark.parametrize(("draws", "found"), [([[1.0]], "shape (1, 1)"), ([[1.0], [np.nan]], "NaN or infinity")])
def test_invalid_draws_are_refused(draws: list[list[float]], found: str) -> None:
    with pytest.raises(LayoutmarkError) as caught:
        best_probabilities([1.0, 2.0], draws)
    assert found in str(caught.value)
    assert str(caught.value).endswith("Resample all methods with the same weights.")
