"""Resampling weights against enumeration; interval formulas on statistics with known answers."""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics import (
    bootstrap_interval,
    bootstrap_weights,
    half_sample_deviations,
    half_sample_interval,
    half_sample_weights,
    jackknife_interval,
    mean_interval,
)

KEYS = st.lists(st.sampled_from(["a", "b", "c", "d", "é", "a\0"]), min_size=1, max_size=20)


@given(KEYS, st.integers(1, 30), st.integers(0, 2**63 - 1))
def test_whole_clusters_are_drawn_as_often_as_there_are_clusters(keys: list[str], draws: int, seed: int) -> None:
    weights = bootstrap_weights(keys, draws, seed)
    assert weights.shape == (draws, len(keys))
    assert weights.dtype == np.int32
    first_position = {key: keys.index(key) for key in keys}
    for i, key in enumerate(keys):
        assert (weights[:, i] == weights[:, first_position[key]]).all()
    assert (weights[:, sorted(first_position.values())].sum(axis=1) == len(first_position)).all()


@given(KEYS, st.randoms(use_true_random=False))
def test_columns_follow_their_items(keys: list[str], random: object) -> None:
    order = list(range(len(keys)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert (bootstrap_weights([keys[i] for i in order], 8, 3) == bootstrap_weights(keys, 8, 3)[:, order]).all()


def test_keys_with_the_same_sort_order_give_equal_weights() -> None:
    assert (bootstrap_weights(["a", "b", "a", "c"], 50, 1) == bootstrap_weights(["k", "l", "k", "m"], 50, 1)).all()


def test_the_same_seed_gives_the_same_bytes_everywhere() -> None:
    weights = bootstrap_weights(["a", "a", "b", "c", "d"], 100, 11)
    assert weights.tobytes() == bootstrap_weights(["a", "a", "b", "c", "d"], 100, 11).tobytes()
    assert (weights != bootstrap_weights(["a", "a", "b", "c", "d"], 100, 12)).any()
    # A fixed value: a new numpy version or another platform must not change published intervals.
    digest = hashlib.sha256(weights.astype("<i4").tobytes()).hexdigest()
    assert digest[:16] == "4479bba14ad888b3"


def test_more_draws_keep_the_first_ones() -> None:
    assert (bootstrap_weights(["a", "b", "c"], 10, 5) == bootstrap_weights(["a", "b", "c"], 25, 5)[:10]).all()


def test_no_items_give_an_empty_table_and_one_cluster_gives_ones() -> None:
    assert bootstrap_weights([], 3, 0).shape == (3, 0)
    assert (bootstrap_weights(["a", "a"], 3, 0) == 1).all()


def test_against_every_possible_resample() -> None:
    # Three clusters have 27 equally likely resamples; the drawn means must follow that exact distribution.
    keys, values = ["a", "a", "b", "c"], np.array([1.0, 2.0, 5.0, 11.0])
    members = {"a": [1.0, 2.0], "b": [5.0], "c": [11.0]}
    exact: dict[float, float] = {}
    for drawn in itertools.product(members, repeat=3):
        items = [value for key in drawn for value in members[key]]
        mean = round(sum(items) / len(items), 9)
        exact[mean] = exact.get(mean, 0) + 1 / 27
    weights = bootstrap_weights(keys, 20_000, 2)
    means = np.round(weights @ values / weights.sum(axis=1), 9)
    assert set(means) == set(exact)
    for mean, share in exact.items():
        assert float((means == mean).mean()) == pytest.approx(share, abs=0.012)


@given(KEYS, st.integers(1, 15), st.integers(0, 2**63 - 1))
def test_halves_consist_of_whole_clusters_and_are_complementary(keys: list[str], splits: int, seed: int) -> None:
    weights = half_sample_weights(keys, 2 * splits, seed)
    first_position = [keys.index(key) for key in sorted(set(keys))]
    assert weights.dtype == np.int32
    assert (weights[0::2] + weights[1::2] == 1).all()
    assert (weights[0::2][:, first_position].sum(axis=1) == len(first_position) // 2).all()
    assert all((weights[:, i] == weights[:, keys.index(key)]).all() for i, key in enumerate(keys))


def test_all_halves_are_equally_likely() -> None:
    halves, counts = np.unique(half_sample_weights(list("abcd"), 12_000, 1)[0::2], axis=0, return_counts=True)
    assert len(halves) == math.comb(4, 2)
    assert counts / 6000 == pytest.approx(np.full(6, 1 / 6), abs=0.02)


def test_the_same_seed_gives_the_same_halves_everywhere() -> None:
    weights = half_sample_weights(["a", "a", "b", "c", "d"], 100, 11)
    assert (weights[:10] == half_sample_weights(["a", "a", "b", "c", "d"], 10, 11)).all()
    assert (half_sample_weights(["d", "a", "c", "a", "b"], 100, 11) == weights[:, [4, 0, 3, 1, 2]]).all()
    assert hashlib.sha256(weights.astype("<i4").tobytes()).hexdigest()[:16] == "113d76e5de410ceb"


@pytest.mark.parametrize("count", [6, 7])
def test_over_all_splits_the_error_of_a_mean_is_the_standard_one(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    half_means = []
    for half in itertools.combinations(range(count), count // 2):
        inside = np.isin(np.arange(count), half)
        half_means += [values[inside].mean(), values[~inside].mean()]
    deviations, standard = (
        half_sample_deviations(half_means, count),
        mean_interval(values, [str(i) for i in range(count)]),
    )
    assert np.mean(deviations**2) == pytest.approx(values.var(ddof=1) / count, rel=1e-12)
    interval = half_sample_interval(float(values.mean()), deviations, count)
    assert interval is not None
    assert standard is not None
    assert (interval.low, interval.high) == pytest.approx((standard.low, standard.high), rel=1e-12)
    assert (interval.level, interval.method) == (0.95, "delete-half-jackknife-t")


def test_a_bias_shared_by_both_halves_cancels() -> None:
    values = np.random.default_rng(0).normal(size=40)
    assert half_sample_deviations(values + 7.0, 20) == pytest.approx(half_sample_deviations(values, 20), abs=1e-12)


def test_edge_cases_of_half_samples() -> None:
    assert half_sample_interval(0.5, [0.1, 0.2], 1) is None
    flat = half_sample_interval(0.1, half_sample_deviations([0.1] * 4, 2), 2)
    assert flat is not None
    assert flat.low == flat.high == 0.1
    with pytest.raises(LayoutmarkError, match=r"^half-samples: found 3; expected an even number, at least 2\. Ask for"):
        half_sample_weights(["a", "b"], 3, 0)
    with pytest.raises(LayoutmarkError, match=r"^values of half-samples: found 3; expected two per split"):
        half_sample_deviations([0.1, 0.2, 0.3], 4)
    with pytest.raises(LayoutmarkError, match=r"^deviations: found none; expected one for each half"):
        half_sample_interval(0.5, [], 4)
    with pytest.raises(LayoutmarkError, match=r"expected finite numbers"):
        half_sample_deviations([0.1, math.nan], 4)


def test_bootstrap_error_of_a_mean_matches_the_clustered_one() -> None:
    rng = np.random.default_rng(3)
    values, keys = np.repeat(rng.normal(size=50), 4) + rng.normal(size=200), [f"k{i // 4}" for i in range(200)]
    weights = bootstrap_weights(keys, 4000, 9)
    bootstrap = bootstrap_interval(float(values.mean()), weights @ values / 200)
    clustered = mean_interval(values, keys)
    assert clustered is not None
    assert (bootstrap.low, bootstrap.high) == pytest.approx((clustered.low, clustered.high), abs=0.04)
    assert bootstrap.high - bootstrap.low == pytest.approx(clustered.high - clustered.low, rel=0.1)


def test_bias_correction_by_hand() -> None:
    # Draws 0.00 .. 1.00 have mean 0.5; for an estimate of 0.3, their bias is 0.2.
    interval = bootstrap_interval(0.3, np.linspace(0, 1, 101), 0.9)
    assert (interval.low, interval.high) == pytest.approx((0.05 - 0.2, 0.95 - 0.2))
    assert (interval.level, interval.method) == (0.9, "bootstrap-shifted")


@given(st.lists(st.integers(-1000, 1000), min_size=40, max_size=60), st.integers(-500, 500))
def test_a_common_shift_of_all_draws_changes_nothing(draws: list[int], shift: int) -> None:
    plain, moved = bootstrap_interval(3.0, draws), bootstrap_interval(3.0, np.array(draws) + shift)
    assert (moved.low, moved.high) == pytest.approx((plain.low, plain.high), abs=1e-9)


def test_equal_draws_have_no_width() -> None:
    interval = bootstrap_interval(0.1, [0.1] * 100)
    assert (interval.low, interval.high) == (0.1, 0.1)


def average_precision(
    score: npt.NDArray[np.float64], hit: npt.NDArray[np.bool_], weight: npt.NDArray[np.int32]
) -> float:
    """Weighted area under the monotone precision curve; every object is detected at some confidence."""
    order = np.argsort(-score)
    w, h = weight[order], hit[order]
    cumulative_hits, cumulative_weight = np.cumsum(w * h), np.cumsum(w)
    precision = np.maximum.accumulate((cumulative_hits / np.maximum(cumulative_weight, 1))[::-1])[::-1]
    return float((precision * w * h).sum() / max(cumulative_hits[-1], 1))


def test_draws_of_average_precision_are_biased_and_corrected() -> None:
    rng = np.random.default_rng(0)
    shifts = []
    for _ in range(12):
        hit = rng.random(40) < 0.5
        score = rng.normal(hit * 1.0)
        estimate = average_precision(score, hit, np.ones(40, dtype=np.int32))
        weights = bootstrap_weights([str(i) for i in range(40)], 200, int(rng.integers(1 << 30)))
        draws = np.array([average_precision(score, hit, row) for row in weights])
        shifts.append(draws.mean() - estimate)
        interval, plain = bootstrap_interval(estimate, draws), np.quantile(draws, [0.025, 0.975])
        assert interval.low < estimate < interval.high
        assert (interval.low, interval.high) == pytest.approx(tuple(plain - shifts[-1]))
    assert np.mean(shifts) > 0.005


def test_half_samples_estimate_the_variation_of_average_precision() -> None:
    rng = np.random.default_rng(2)
    estimates, errors = [], []
    for _ in range(150):
        hit = rng.random(40) < 0.5
        score = rng.normal(hit * 1.0)
        estimates.append(average_precision(score, hit, np.ones(40, dtype=np.int32)))
        weights = half_sample_weights([str(i) for i in range(40)], 100, int(rng.integers(1 << 30)))
        values = np.array([average_precision(score, hit, row) for row in weights])
        errors.append(float(np.mean(half_sample_deviations(values, 40) ** 2)))
    assert math.sqrt(np.mean(errors)) == pytest.approx(float(np.std(estimates)), rel=0.15)


def test_jackknife_of_a_mean_is_the_t_interval() -> None:
    values = np.array([0.2, 0.9, 0.4, 0.7, 0.1])
    leave_one_out = [float(np.delete(values, i).mean()) for i in range(5)]
    interval, twin = jackknife_interval(float(values.mean()), leave_one_out), mean_interval(values, list("abcde"))
    assert interval is not None
    assert twin is not None
    assert (interval.low, interval.high) == pytest.approx((twin.low, twin.high))
    assert interval.method == "jackknife"


def test_jackknife_needs_two_clusters_and_has_no_width_without_variation() -> None:
    assert jackknife_interval(0.5, []) is None
    assert jackknife_interval(0.5, [0.5]) is None
    flat = jackknife_interval(0.1, [0.1] * 3)
    assert flat is not None
    assert flat.low == flat.high == 0.1


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(LayoutmarkError) as caught:
        bootstrap_interval(0.5, [0.5] * 39)
    assert str(caught.value) == "bootstrap draws: found 39; expected at least 40 at level 0.95. Draw more."
    bootstrap_interval(0.5, [0.5] * 40)


@pytest.mark.parametrize(("estimate", "draws"), [(math.nan, [0.5] * 40), (0.5, [0.5] * 39 + [math.inf])])
def test_nan_and_infinity_are_refused(estimate: float, draws: list[float]) -> None:
    with pytest.raises(LayoutmarkError, match=r"expected finite numbers"):
        bootstrap_interval(estimate, draws)


@pytest.mark.parametrize(("draws", "seed", "text"), [(0, 0, "bootstrap draws: found 0"), (1, -1, "seed: found -1")])
def test_invalid_resampling_settings_are_refused(draws: int, seed: int, text: str) -> None:
    with pytest.raises(LayoutmarkError, match=text):
        bootstrap_weights(["a", "b"], draws, seed)
