"""Holm's adjustment on a hand-worked example, and tie groups that do not chain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics import holm, tie_groups

P = st.lists(st.floats(0, 1), max_size=15)


def test_holm_by_hand() -> None:
    # Sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04; the last is raised to the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_of_empty_single_and_large_values() -> None:
    assert holm([]) == []
    assert holm([0.2]) == [0.2]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@given(P)
def test_holm_is_between_the_value_and_bonferroni_and_keeps_the_order(p: list[float]) -> None:
    adjusted = holm(p)
    for value, result in zip(p, adjusted, strict=True):
        assert value <= result <= min(1.0, len(p) * value) or result == pytest.approx(value)
    ranked = [adjusted[i] for i in np.argsort(p, kind="stable")]
    assert ranked == sorted(ranked)


@given(P, st.randoms(use_true_random=False))
def test_holm_does_not_depend_on_the_order(p: list[float], random: object) -> None:
    order = list(range(len(p)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert holm([p[i] for i in order]) == [holm(p)[i] for i in order]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10), st.floats(0.01, 0.2))
def test_holm_rejects_what_the_step_down_procedure_rejects(p: list[float], alpha: float) -> None:
    rejected = 0
    for step, value in enumerate(sorted(p)):
        if (len(p) - step) * value > alpha:
            break
        rejected += 1
    assert sum(value <= alpha for value in holm(p)) == rejected


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan])
def test_holm_refuses_invalid_probabilities(bad: float) -> None:
    with pytest.raises(LayoutmarkError, match=r"at position 1; expected numbers in \[0, 1\]"):
        holm([0.5, bad])


def test_tie_groups_compare_with_the_head_of_the_group() -> None:
    score = {"a": 10.0, "b": 9.0, "c": 8.0, "d": 7.5, "e": 1.0}
    assert tie_groups(list(score), lambda x, y: score[x] - score[y] > 1.5) == [["a", "b"], ["c", "d"], ["e"]]


def test_tie_groups_ask_only_better_against_worse() -> None:
    compared_pairs: list[tuple[str, str]] = []
    tie_groups(["a", "b", "c"], lambda x, y: bool(compared_pairs.append((x, y))))  # type: ignore[func-returns-value]
    assert compared_pairs == [("a", "b"), ("a", "c")]


@given(st.lists(st.text(max_size=3), unique=True, max_size=10), st.integers(0, 1000))
def test_tie_groups_keep_every_name_in_order(names: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = tie_groups(names, lambda x, y: bool(rng.random() < 0.5))
    assert [name for group in groups for name in group] == names
    assert all(groups)


def test_tie_groups_at_the_extremes() -> None:
    assert tie_groups([], lambda x, y: True) == []
    assert tie_groups(["a", "b"], lambda x, y: True) == [["a"], ["b"]]
    assert tie_groups(["a", "b"], lambda x, y: False) == [["a", "b"]]


def test_a_name_ranked_twice_is_refused() -> None:
    with pytest.raises(LayoutmarkError) as caught:
        tie_groups(["a", "b", "a"], lambda x, y: False)
    assert str(caught.value) == "ranking: found a more than once; expected each name once. Rank each method once."
