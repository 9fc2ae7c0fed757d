"""The clustered interval of a mean against closed forms, an independent implementation, and its guarantees."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics import Interval, mean_interval

VALUES = st.lists(st.floats(-100, 100).map(lambda x: round(x, 3)), min_size=2, max_size=30)


def one_cluster_each(count: int) -> list[str]:
    """Cluster keys that are all different."""
    return [f"prompt {i}" for i in range(count)]


def not_none(interval: Interval | None) -> Interval:
    assert interval is not None
    return interval


@given(VALUES, st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_one_item_per_cluster_is_the_ordinary_t_interval(values: list[float], level: float) -> None:
    interval = not_none(mean_interval(values, one_cluster_each(len(values)), level))
    if len(set(values)) > 1:
        reference = stats.ttest_1samp(values, 0.0).confidence_interval(level)
        assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high), rel=1e-7, abs=1e-9)
    else:
        assert interval.low == interval.high == pytest.approx(values[0])
    assert (interval.level, interval.method) == (level, "clustered-t")


def test_two_clusters_by_hand() -> None:
    # Mean 2, residual sums -2 and 2, squared error 2 * (4 + 4) / 16 = 1, t(1 degree, 97.5 %) = 12.7062.
    interval = not_none(mean_interval([1.0, 1.0, 3.0, 3.0], ["a", "a", "b", "b"]))
    assert (interval.low, interval.high) == pytest.approx((2 - 12.7062047, 2 + 12.7062047))


def test_unequal_clusters_by_hand() -> None:
    # Values 0 0 0 | 1 | 5: mean 1.2, residual sums -3.6 -0.2 3.8, squared error 1.5 * 27.44 / 25.
    interval = not_none(mean_interval([0, 0, 0, 1, 5], ["a", "a", "a", "b", "c"]))
    reach = 4.30265273 * math.sqrt(1.5 * 27.44 / 25)
    assert (interval.low, interval.high) == pytest.approx((1.2 - reach, 1.2 + reach))


@given(VALUES)
def test_copies_of_an_item_within_its_cluster_add_no_information(values: list[float]) -> None:
    once = not_none(mean_interval(values, one_cluster_each(len(values))))
    thrice = not_none(mean_interval(np.repeat(values, 3), list(np.repeat(one_cluster_each(len(values)), 3))))
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high), rel=1e-9, abs=1e-9)


@given(VALUES, st.randoms(use_true_random=False))
def test_order_and_names_of_clusters_do_not_matter(values: list[float], random: object) -> None:
    keys = [f"k{i % 4}" for i in range(len(values))]
    order = list(range(len(values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    names = {"k0": "z", "k1": "a dog", "k2": "", "k3": "m"}
    first = not_none(mean_interval(values, keys))
    second = not_none(mean_interval([values[i] for i in order], [names[keys[i]] for i in order]))
    assert (second.low, second.high) == pytest.approx((first.low, first.high), rel=1e-9, abs=1e-9)


@given(VALUES, st.floats(0.5, 2), st.floats(-10, 10))
def test_scaling_and_shifting_carry_over(values: list[float], factor: float, offset: float) -> None:
    keys = [f"k{i % 5}" for i in range(len(values))]
    plain = not_none(mean_interval(values, keys))
    moved = not_none(mean_interval(np.array(values) * factor + offset, keys))
    expected = (plain.low * factor + offset, plain.high * factor + offset)
    assert (moved.low, moved.high) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_a_higher_level_is_wider() -> None:
    values = [0.1, 0.4, 0.2, 0.9]
    narrow, wide = (
        not_none(mean_interval(values, one_cluster_each(4), 0.8)),
        not_none(mean_interval(values, one_cluster_each(4), 0.99)),
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_bounds_are_not_clipped() -> None:
    assert not_none(mean_interval([1, 1, 1, 1, 0], one_cluster_each(5))).high > 1


def test_equal_values_have_zero_width_despite_rounding() -> None:
    interval = not_none(mean_interval([0.1] * 7, one_cluster_each(7)))
    assert interval.low == interval.high == pytest.approx(0.1)


@pytest.mark.parametrize(("values", "keys"), [([], []), ([0.5], ["a"]), ([0.1, 0.9, 0.4], ["a", "a", "a"])])
def test_fewer_than_two_clusters_give_no_interval(values: list[float], keys: list[str]) -> None:
    assert mean_interval(values, keys) is None


def test_coverage_with_dependent_seeds() -> None:
    # 20 prompts of 4 seeds; the prompt effect is twice the seed effect, so items are far from independent.
    rng = np.random.default_rng(7)
    keys = list(np.repeat(one_cluster_each(20), 4))
    clustered_hits = naive_hits = 0
    for _ in range(400):
        values = np.repeat(rng.normal(0, 2, 20), 4) + rng.normal(0, 1, 80)
        interval = not_none(mean_interval(values, keys))
        clustered_hits += interval.low <= 0 <= interval.high
        unclustered = not_none(mean_interval(values, one_cluster_each(80)))
        naive_hits += unclustered.low <= 0 <= unclustered.high
    assert 0.92 <= clustered_hits / 400 <= 0.98
    assert naive_hits / 400 < 0.85


def test_nan_is_refused() -> None:
    with pytest.raises(LayoutmarkError) as caught:
        mean_interval([0.5, math.nan], ["a", "b"])
    assert str(caught.value) == (
        "values: found nan at position 1; expected finite numbers. Leave out unscored items and count them separately."
    )


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(LayoutmarkError, match=r"^cluster keys: found 1 entry; expected 2 entries\. Pass one"):
        mean_interval([0.5, 0.6], ["a"])


def test_a_matrix_of_values_is_refused() -> None:
    with pytest.raises(LayoutmarkError, match=r"values: found shape \(2, 2\); expected one axis"):
        mean_interval([[0.5, 0.6], [0.1, 0.2]], ["a", "b"])


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, math.nan])
def test_a_level_outside_0_to_1_is_refused(level: float) -> None:
    with pytest.raises(LayoutmarkError, match=r"expected a share between 0 and 1. Write 95 % as 0.95."):
        mean_interval([0.5, 0.6], ["a", "b"], level)
