"""Paired differences against scipy's t test, and the false alarms and ties they must not have."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics import (
    PairedDifference,
    cluster_weights,
    mean_interval,
    paired_mean_difference,
    paired_statistic_difference,
)

PAIRS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=3, max_size=30)


def own(count: int) -> list[str]:
    return [f"prompt {i}" for i in range(count)]


def known(result: PairedDifference | None) -> PairedDifference:
    assert result is not None
    return result


def weighted_median(values: npt.NDArray[np.float64], weights: npt.NDArray[np.int32]) -> float:
    return float(np.median(np.repeat(values, weights)))


@given(PAIRS)
def test_one_item_per_cluster_is_the_paired_t_test(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs, dtype=float).T / 100
    assume(np.ptp(a - b) > 1e-6)
    got, twin = known(paired_mean_difference(a, b, own(len(a)))), stats.ttest_rel(a, b)
    bounds = twin.confidence_interval(0.95)
    assert got.p == pytest.approx(float(twin.pvalue), rel=1e-6, abs=1e-12)
    assert (got.low, got.high) == pytest.approx((bounds.low, bounds.high), abs=1e-9)
    assert got.difference == pytest.approx(float((a - b).mean()))
    assert (got.n, got.clusters) == (len(a), len(a))


@given(PAIRS, st.integers(2, 6))
def test_swapping_the_methods_mirrors_the_result(pairs: list[tuple[int, int]], count: int) -> None:
    a, b = np.array(pairs, dtype=float).T
    keys = [f"k{i % count}" for i in range(len(a))]
    one, two = known(paired_mean_difference(a, b, keys)), known(paired_mean_difference(b, a, keys))
    assert (two.difference, two.low, two.high, two.p) == pytest.approx((-one.difference, -one.high, -one.low, one.p))


@given(PAIRS, st.integers(2, 6))
def test_interval_leaves_out_zero_exactly_when_p_is_small(pairs: list[tuple[int, int]], count: int) -> None:
    a, b = np.array(pairs, dtype=float).T
    got = known(paired_mean_difference(a, b, [f"k{i % count}" for i in range(len(a))]))
    assume(got.low < got.high and abs(got.p - 0.05) > 1e-9)
    assert (got.low > 0 or got.high < 0) == (got.p < 0.05)
    assert 0 <= got.p <= 1


def test_it_is_the_mean_interval_of_the_differences() -> None:
    rng = np.random.default_rng(0)
    a, b, keys = rng.random(24), rng.random(24), [f"k{i // 3}" for i in range(24)]
    got, twin = known(paired_mean_difference(a, b, keys, 0.9)), mean_interval(a - b, keys, 0.9)
    assert twin is not None
    assert (got.low, got.high, got.clusters) == (twin.low, twin.high, 8)


def test_pairing_sees_what_separate_intervals_hide() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random(40)
    a, b = hard + 0.02 + rng.normal(0, 0.01, 40), hard
    got, one, two = known(paired_mean_difference(a, b, own(40))), mean_interval(a, own(40)), mean_interval(b, own(40))
    assert one is not None
    assert two is not None
    assert got.low > 0
    assert one.low < two.high


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_identical_scores_are_no_evidence(value: float) -> None:
    got = known(paired_mean_difference([value] * 6, [value] * 6, own(6)))
    assert got == PairedDifference(0.0, 0.0, 0.0, 1.0, 6, 6)


def test_scores_that_differ_by_rounding_alone_are_identical() -> None:
    a = [0.1 + 0.2, 0.3, 0.1 + 0.2, 0.3]
    b = [0.3, 0.3, 0.3, 0.3]
    got = known(paired_mean_difference(a, b, own(4)))
    assert (got.difference, got.low, got.high, got.p) == (0.0, 0.0, 0.0, 1.0)


def test_one_constant_difference_is_not_a_certainty() -> None:
    got = known(paired_mean_difference([0.3, 0.5, 0.9], [0.2, 0.4, 0.8], own(3)))
    assert got.p == 0.25
    assert got.low == got.high == pytest.approx(0.1)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_fewer_than_two_clusters_give_no_result(count: int) -> None:
    assert paired_mean_difference([0.5] * count, [0.1] * count, ["same"] * count) is None


def test_unequal_designs_are_refused() -> None:
    with pytest.raises(LayoutmarkError, match=r"^second values: found 1 entries; expected 2 entries\. Pass one"):
        paired_mean_difference([0.1, 0.2], [0.1], ["a", "b"])
    with pytest.raises(LayoutmarkError, match=r"^second draws: found 50 entries; expected 60 entries"):
        paired_statistic_difference(0.1, 0.2, [0.1] * 60, [0.2] * 50)


def test_false_alarms_of_the_clustered_test() -> None:
    rng = np.random.default_rng(5)
    keys = [f"k{i // 4}" for i in range(60)]
    alarms = 0
    for _ in range(400):
        a, b = np.repeat(rng.normal(size=(2, 15)), 4, axis=1) + rng.normal(size=(2, 60))
        alarms += known(paired_mean_difference(a, b, keys)).p < 0.05
    assert 0.02 <= alarms / 400 <= 0.085


def test_resampled_difference_of_a_mean_agrees_with_the_t_test() -> None:
    rng = np.random.default_rng(8)
    a, keys = rng.normal(size=60), own(60)
    b = a - 0.25 + rng.normal(0, 0.9, 60)
    weights = cluster_weights(keys, 4000, 1)
    got = paired_statistic_difference(a.mean(), b.mean(), weights @ a / 60, weights @ b / 60, n=60, clusters=60)
    twin = known(paired_mean_difference(a, b, keys))
    assert got.difference == pytest.approx(twin.difference)
    assert (got.low, got.high, got.p) == pytest.approx((twin.low, twin.high, twin.p), abs=0.03)
    assert (got.n, got.clusters) == (60, 60)


def test_resampled_p_by_hand() -> None:
    # Differences of the draws: 0 (98 times) and -10, 10; centred at 0, two of 100 reach as far as the estimate 10.
    draws = np.array([0.0] * 98 + [-10.0, 10.0])
    got = paired_statistic_difference(10.0, 0.0, draws, np.zeros(100))
    assert got.p == 3 / 101
    # 0.1 + 0.2 is a last bit above 0.3, and still as far.
    assert paired_statistic_difference(0.1 + 0.2, 0.0, draws * 0.03, np.zeros(100)).p == 3 / 101
    assert (got.n, got.clusters) == (None, None)


def test_resampled_p_is_never_zero_and_identical_data_give_one() -> None:
    rng = np.random.default_rng(0)
    draws = rng.random(100)
    same = paired_statistic_difference(0.6, 0.6, draws, draws)
    assert (same.difference, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    assert paired_statistic_difference(5.6, 0.6, draws + 5, draws).p == 1 / 101


@given(st.integers(0, 1000))
def test_swapping_resampled_methods_mirrors_the_result(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((2, 80))
    one, two = paired_statistic_difference(0.6, 0.5, a, b), paired_statistic_difference(0.5, 0.6, b, a)
    assert (two.difference, two.low, two.high, two.p) == pytest.approx((-one.difference, -one.high, -one.low, one.p))


def test_false_alarms_of_the_resampled_test() -> None:
    # Medians are no means of items; both methods share the prompt and are equally good.
    rng = np.random.default_rng(4)
    keys = own(41)
    weights = cluster_weights(keys, 200, 6)
    alarms = covered = 0
    for _ in range(100):
        a, b = rng.normal(size=41) + rng.normal(size=(2, 41))
        draws_a = np.array([weighted_median(a, w) for w in weights])
        draws_b = np.array([weighted_median(b, w) for w in weights])
        got = paired_statistic_difference(float(np.median(a)), float(np.median(b)), draws_a, draws_b)
        alarms += got.p < 0.05
        covered += got.low <= 0 <= got.high
    assert alarms <= 11
    assert covered >= 89


def test_beyond_the_draws_the_tail_of_t_says_how_unlikely() -> None:
    draws = np.random.default_rng(5).normal(0.0, 0.01, 1000)
    far = paired_statistic_difference(0.6, 0.5, draws + 0.1, np.zeros(1000), n=80, clusters=80)
    assert 1e-20 < far.p < 1e-8
    assert paired_statistic_difference(0.6, 0.5, draws + 0.1, np.zeros(1000)).p == 1 / 1001
    # Where the draws can tell, they do, with clusters or without.
    near = [paired_statistic_difference(0.515, 0.5, draws + 0.015, np.zeros(1000), clusters=c).p for c in (80, None)]
    assert near[0] == near[1] > 0.05
    # Few prompts never make more of a difference than the draws resolve.
    assert paired_statistic_difference(0.6, 0.5, draws + 0.1, np.zeros(1000), clusters=2).p == 11 / 1001


def test_the_tail_meets_the_share_of_draws() -> None:
    draws = np.random.default_rng(6).normal(0.0, 0.01, 200_000)
    few, many = draws[:1000], draws
    got = [
        paired_statistic_difference(0.53, 0.5, part + 0.03, np.zeros(len(part)), clusters=500).p for part in (few, many)
    ]
    assert got[0] == pytest.approx(got[1], rel=0.3)
