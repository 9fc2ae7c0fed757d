"""Paired differences against scipy's t test, false-alarm rates, and ties."""

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
    half_sample_deviations,
    half_sample_weights,
    mean_interval,
    paired_mean_difference,
    paired_statistic_difference,
)

PAIRS = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=3, max_size=30)


def one_cluster_each(count: int) -> list[str]:
    return [f"prompt {i}" for i in range(count)]


def not_none(result: PairedDifference | None) -> PairedDifference:
    assert result is not None
    return result


def weighted_median(values: npt.NDArray[np.float64], weights: npt.NDArray[np.int32]) -> float:
    return float(np.median(np.repeat(values, weights)))


@given(PAIRS)
def test_one_item_per_cluster_is_the_paired_t_test(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs, dtype=float).T / 100
    assume(np.ptp(a - b) > 1e-6)
    result, reference = not_none(paired_mean_difference(a, b, one_cluster_each(len(a)))), stats.ttest_rel(a, b)
    bounds = reference.confidence_interval(0.95)
    assert result.p == pytest.approx(float(reference.pvalue), rel=1e-6, abs=1e-12)
    assert (result.low, result.high) == pytest.approx((bounds.low, bounds.high), abs=1e-9)
    assert result.difference == pytest.approx(float((a - b).mean()))
    assert (result.n, result.clusters) == (len(a), len(a))


@given(PAIRS, st.integers(2, 6))
def test_swapping_the_methods_mirrors_the_result(pairs: list[tuple[int, int]], count: int) -> None:
    a, b = np.array(pairs, dtype=float).T
    keys = [f"k{i % count}" for i in range(len(a))]
    forward, backward = not_none(paired_mean_difference(a, b, keys)), not_none(paired_mean_difference(b, a, keys))
    assert (backward.difference, backward.low, backward.high, backward.p) == pytest.approx(
        (-forward.difference, -forward.high, -forward.low, forward.p)
    )


@given(PAIRS, st.integers(2, 6))
def test_interval_leaves_out_zero_exactly_when_p_is_small(pairs: list[tuple[int, int]], count: int) -> None:
    a, b = np.array(pairs, dtype=float).T
    result = not_none(paired_mean_difference(a, b, [f"k{i % count}" for i in range(len(a))]))
    assume(result.low < result.high and abs(result.p - 0.05) > 1e-9)
    assert (result.low > 0 or result.high < 0) == (result.p < 0.05)
    assert 0 <= result.p <= 1


def test_paired_interval_is_the_mean_interval_of_the_differences() -> None:
    rng = np.random.default_rng(0)
    a, b, keys = rng.random(24), rng.random(24), [f"k{i // 3}" for i in range(24)]
    result, reference = not_none(paired_mean_difference(a, b, keys, 0.9)), mean_interval(a - b, keys, 0.9)
    assert reference is not None
    assert (result.low, result.high, result.clusters) == (reference.low, reference.high, 8)


def test_pairing_detects_what_separate_intervals_hide() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random(40)
    a, b = hard + 0.02 + rng.normal(0, 0.01, 40), hard
    result, interval_a, interval_b = (
        not_none(paired_mean_difference(a, b, one_cluster_each(40))),
        mean_interval(a, one_cluster_each(40)),
        mean_interval(b, one_cluster_each(40)),
    )
    assert interval_a is not None
    assert interval_b is not None
    assert result.low > 0
    assert interval_a.low < interval_b.high


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_identical_scores_are_no_evidence(value: float) -> None:
    result = not_none(paired_mean_difference([value] * 6, [value] * 6, one_cluster_each(6)))
    assert result == PairedDifference(0.0, 0.0, 0.0, 1.0, 6, 6, 0.0)


def test_scores_that_differ_by_rounding_alone_are_identical() -> None:
    a = [0.1 + 0.2, 0.3, 0.1 + 0.2, 0.3]
    b = [0.3, 0.3, 0.3, 0.3]
    result = not_none(paired_mean_difference(a, b, one_cluster_each(4)))
    assert (result.difference, result.low, result.high, result.p) == (0.0, 0.0, 0.0, 1.0)


def test_constant_difference_keeps_a_positive_p_value() -> None:
    result = not_none(paired_mean_difference([0.3, 0.5, 0.9], [0.2, 0.4, 0.8], one_cluster_each(3)))
    assert result.p == 0.25
    assert result.low == result.high == pytest.approx(0.1)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_fewer_than_two_clusters_give_no_result(count: int) -> None:
    assert paired_mean_difference([0.5] * count, [0.1] * count, ["same"] * count) is None


def test_unequal_designs_are_refused() -> None:
    with pytest.raises(LayoutmarkError, match=r"^second values: found 1 entry; expected 2 entries\. Pass one"):
        paired_mean_difference([0.1, 0.2], [0.1], ["a", "b"])
    with pytest.raises(LayoutmarkError, match=r"^second deviations: found 50 entries; expected 60 entries"):
        paired_statistic_difference(0.1, 0.2, [0.1] * 60, [0.2] * 50, 10)


def test_false_alarms_of_the_clustered_test() -> None:
    rng = np.random.default_rng(5)
    keys = [f"k{i // 4}" for i in range(60)]
    false_alarms = 0
    for _ in range(400):
        a, b = np.repeat(rng.normal(size=(2, 15)), 4, axis=1) + rng.normal(size=(2, 60))
        false_alarms += not_none(paired_mean_difference(a, b, keys)).p < 0.05
    assert 0.02 <= false_alarms / 400 <= 0.085


def test_resampled_difference_of_a_mean_agrees_with_the_t_test() -> None:
    rng = np.random.default_rng(8)
    a, keys = rng.normal(size=60), one_cluster_each(60)
    b = a - 0.25 + rng.normal(0, 0.9, 60)
    weights = half_sample_weights(keys, 4000, 1)
    deviations = [half_sample_deviations(weights @ x / 30, 60) for x in (a, b)]
    result, reference = (
        not_none(paired_statistic_difference(a.mean(), b.mean(), *deviations, 60, n=60)),
        paired_mean_difference(a, b, keys),
    )
    assert reference is not None
    assert result.difference == pytest.approx(reference.difference)
    assert (result.low, result.high, result.p) == pytest.approx((reference.low, reference.high, reference.p), abs=0.02)
    assert (result.n, result.clusters) == (60, 60)


def test_resampled_p_by_hand() -> None:
    # Deviations of 3 and 4 have a mean square of 12.5; the difference 5 is 5 / sqrt(12.5) standard errors, t with 8.
    result = not_none(paired_statistic_difference(6.0, 1.0, [3.0, 4.0], [0.0, 0.0], 9))
    assert result.p == pytest.approx(2 * stats.t.sf(5 / 12.5**0.5, 8))
    assert result.high - result.difference == pytest.approx(stats.t.ppf(0.975, 8) * 12.5**0.5)
    assert (result.n, result.clusters) == (None, 9)


@given(st.integers(0, 1000), st.floats(-0.5, 0.5), st.integers(2, 50))
def test_resampled_interval_leaves_out_zero_exactly_when_p_is_small(seed: int, gain: float, clusters: int) -> None:
    a, b = np.random.default_rng(seed).normal(0.0, 0.1, (2, 50))
    result = not_none(paired_statistic_difference(0.5 + gain, 0.5, a, b, clusters))
    assume(abs(result.p - 0.05) > 1e-9)
    assert (result.low > 0 or result.high < 0) == (result.p < 0.05)


def test_identical_data_give_p_1_and_few_prompts_no_certainty() -> None:
    deviations = np.random.default_rng(0).random(100)
    same = not_none(paired_statistic_difference(0.6, 0.6, deviations, deviations, 20))
    assert (same.difference, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    assert not_none(paired_statistic_difference(0.1 + 0.2, 0.3, deviations, deviations, 20)).p == 1.0, (
        "only the last bit differs"
    )
    assert not_none(paired_statistic_difference(0.9, 0.6, deviations, deviations, 3)).p == 0.25
    assert paired_statistic_difference(0.9, 0.6, deviations, deviations, 1) is None


@given(st.integers(0, 1000))
def test_swapping_resampled_methods_mirrors_the_result(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 80))
    forward, backward = (
        not_none(paired_statistic_difference(0.6, 0.5, a, b, 30)),
        not_none(paired_statistic_difference(0.5, 0.6, b, a, 30)),
    )
    assert (backward.difference, backward.low, backward.high, backward.p) == pytest.approx(
        (-forward.difference, -forward.high, -forward.low, forward.p)
    )


def test_false_alarms_of_the_resampled_test() -> None:
    # Medians are not means over items; both methods share the prompts and are equally good.
    rng = np.random.default_rng(4)
    keys = one_cluster_each(41)
    weights = half_sample_weights(keys, 100, 6)
    false_alarms = 0
    for _ in range(200):
        a, b = rng.normal(size=41) + rng.normal(size=(2, 41))
        deviations = [half_sample_deviations([weighted_median(x, w) for w in weights], 41) for x in (a, b)]
        false_alarms += (
            not_none(paired_statistic_difference(float(np.median(a)), float(np.median(b)), *deviations, 41)).p < 0.05
        )
    assert false_alarms <= 18
