"""Resampling of whole clusters, for statistics that are not means over items, AP above all.

AP is biased upwards on few images, and resampling with replacement, which repeats images, smooths the ranking of
detections: bootstrap values are biased and vary too little. The delete-one jackknife varies too much and is not
consistent for a statistic that jumps. `half_sample_weights` therefore splits the clusters into random halves, without
replacement, and `half_sample_deviations` measures how far the halves lie apart: the delete-half jackknife (Shao and Wu,
A general theory for jackknife variance estimation, Annals of Statistics 17, 1989). No image is repeated. All halves
have the same small-sample bias, so it cancels. For a mean the variance is exactly the usual one, hence the t interval.
`tests/validity/coverage.py` compares its coverage with that of bootstraps (shifted, basic, BCa) and the delete-one
jackknife.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics.clusters import Floats, cluster_indices, finite_vector
from layoutmark.statistics.interval import Interval, check_level, t_quantile


def bootstrap_weights(clusters: Sequence[str], draws: int, seed: int) -> npt.NDArray[np.int32]:
    """How often each item is drawn when whole clusters are resampled with replacement; shape (draws, n).

    Each draw takes as many clusters as there are, so all items of a cluster share a weight. The same keys, draws and
    seed give identical bytes on every platform and numpy version. The first rows do not change when more are requested,
    and a column follows its item when items are reordered. With a single cluster all weights are 1: no interval should
    be computed from them.

    Args:
        clusters: n cluster keys.
        draws: Number of resamples, at least 1.
        seed: Seed of the random generator, 0 or more.

    Raises LayoutmarkError when `draws` is below 1 or `seed` is negative.

    >>> bootstrap_weights(["a", "a", "b", "c"], draws=2, seed=1)
    array([[1, 1, 2, 0],
           [0, 0, 2, 1]], dtype=int32)
    """
    if draws < 1:
        raise LayoutmarkError("bootstrap draws", found=str(draws), expected="at least 1", do="Ask for 1000 or more.")
    _check_seed(seed)
    indices, count = cluster_indices(clusters)
    weights = np.empty((draws, len(indices)), dtype=np.int32)
    # Only the raw stream of a bit generator is guaranteed to stay the same; Generator methods may change with numpy.
    # The remainder favours no cluster by more than count / 2**64.
    bits = np.random.PCG64(seed)
    for row in range(draws if count else 0):
        cluster_draws = np.asarray(bits.random_raw(count), dtype=np.uint64) % np.uint64(count)
        weights[row] = np.bincount(cluster_draws.astype(np.intp), minlength=count)[indices]
    return weights


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise LayoutmarkError("resampling seed", found=str(seed), expected="0 or more", do="Make it with derive_seed.")


def half_sample_weights(clusters: Sequence[str], draws: int, seed: int) -> npt.NDArray[np.int32]:
    """Random halves of the clusters as weights 0 and 1; shape (draws, n). Rows 2 k and 2 k + 1 are the two halves.

    Items of a cluster stay together. With an odd number of clusters the second half has one more; with a single cluster
    every first half is empty. Deterministic in the same way as `bootstrap_weights`.

    Args:
        clusters: n cluster keys.
        draws: Number of halves, even and at least 2.
        seed: Seed of the random generator, 0 or more.

    Raises LayoutmarkError when `draws` is odd or below 2, or `seed` is negative.

    >>> half_sample_weights(["a", "a", "b", "c", "d"], draws=2, seed=0)
    array([[0, 0, 0, 1, 1],
           [1, 1, 1, 0, 0]], dtype=int32)
    """
    if draws < 2 or draws % 2:
        raise LayoutmarkError(
            "half-samples", found=str(draws), expected="an even number, at least 2", do="Ask for 1000."
        )
    _check_seed(seed)
    indices, count = cluster_indices(clusters)
    weights = np.empty((draws, len(indices)), dtype=np.int32)
    bits = np.random.PCG64(seed)
    in_first_half = np.empty(count, dtype=np.int32)
    for row in range(0, draws, 2):
        in_first_half[:] = 0
        in_first_half[np.argsort(bits.random_raw(count), kind="stable")[: count // 2]] = 1
        weights[row] = in_first_half[indices]
        weights[row + 1] = 1 - weights[row]
    return weights


def half_sample_deviations(values: npt.ArrayLike, clusters: int) -> Floats:
    """Sampling deviations of a statistic, shape (draws,), from its values on half-samples.

    Each deviation is the value of a half minus the mean over all halves of its size, times sqrt(m / (G - m)) for a half
    of m out of G clusters. For a mean with one item per cluster, the expected mean square of the deviations is then the
    squared standard error. Deviations of two methods on the same halves can be subtracted.

    Args:
        values: The statistic under each row of `half_sample_weights`, shape (draws,).
        clusters: Number of clusters G.

    Raises LayoutmarkError for NaN or infinity and for an odd number of values.

    >>> half_sample_deviations([0.4, 0.6, 0.5, 0.5], clusters=10)
    array([-0.05,  0.05,  0.05, -0.05])
    """
    half_values = finite_vector("values of half-samples", values)
    if len(half_values) % 2:
        raise LayoutmarkError(
            "values of half-samples", found=str(len(half_values)), expected="two per split", do="Pass both halves."
        )
    first_size = clusters // 2
    sizes = np.array([first_size, clusters - first_size], dtype=np.float64)
    scale = np.sqrt(sizes / np.maximum(clusters - sizes, 1))
    halves = half_values.reshape(-1, 2)
    centre = np.where(np.ptp(halves, axis=0) == 0, halves[:1], halves.mean(axis=0)) if len(halves) else 0.0
    return np.asarray((halves - centre) * scale, dtype=np.float64).ravel()


def standard_error(deviations: Floats, scale: float) -> float:
    """Root mean square of the deviations; exactly 0 if below the rounding error of numbers of magnitude `scale`.

    >>> standard_error(np.array([0.3, -0.4, 0.0, 0.0]), scale=1.0)
    0.25
    """
    error = float(np.sqrt(np.mean(deviations**2))) if len(deviations) else 0.0
    return 0.0 if error <= 8 * np.finfo(np.float64).eps * abs(scale) else error


def half_sample_interval(
    estimate: float, deviations: npt.ArrayLike, clusters: int, level: float = 0.95
) -> Interval | None:
    """Confidence interval of any statistic by the delete-half jackknife.

    The interval is estimate +- t * standard error, with t of (clusters - 1) degrees of freedom. For a mean it converges
    to that of `mean_interval` as the number of splits grows. It is not clipped to the range of the statistic. Returns
    None for fewer than two clusters.

    Args:
        estimate: The statistic on all data.
        deviations: The result of `half_sample_deviations`, shape (draws,).
        clusters: Number of clusters.
        level: Confidence level in (0, 1).

    Raises LayoutmarkError for NaN or infinity, no deviations, or a level outside (0, 1).

    >>> interval = half_sample_interval(0.5, [-0.05, 0.05, 0.05, -0.05], clusters=10)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.387, 0.613)
    """
    check_level(level)
    checked = finite_vector("deviations", deviations)
    centre = float(finite_vector("estimate", [estimate])[0])
    if clusters < 2:
        return None
    if not len(checked):
        raise LayoutmarkError("deviations", found="none", expected="one for each half", do="Draw some half-samples.")
    half_width = t_quantile(level, clusters - 1) * standard_error(checked, centre)
    return Interval(centre - half_width, centre + half_width, level, "delete-half-jackknife-t")


def shifted_quantiles(estimate: float, draws: Floats, level: float) -> tuple[float, float]:
    """Quantiles of `draws` at (1 -+ level) / 2, both shifted by (estimate - mean of the draws).

    Raises LayoutmarkError for fewer than 2 / (1 - level) draws.

    >>> shifted_quantiles(1.0, np.array([0.0, 1.0, 2.0, 3.0, 4.0]), level=0.5)
    (0.0, 2.0)
    """
    min_draws = math.ceil(round(2 / (1 - level), 6))
    if len(draws) < min_draws:
        raise LayoutmarkError(
            "bootstrap draws", found=str(len(draws)), expected=f"at least {min_draws} at level {level}", do="Draw more."
        )
    # The mean of equal numbers may be off by rounding, so equal draws are centred on their own value.
    centre = float(draws[0]) if np.ptp(draws) == 0 else float(draws.mean())
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(estimate + (low - centre)), float(estimate + (high - centre))


def bootstrap_interval(estimate: float, draws: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Bootstrap interval of any statistic, corrected for the bias of the draws; only used as a cross-check.

    With s = mean(draws) - estimate, the interval is
    [quantile((1 - level) / 2) - s, quantile((1 + level) / 2) - s]. It is not clipped to the range of the statistic.

    Args:
        estimate: The statistic on all data.
        draws: The statistic under each row of `bootstrap_weights`, shape (draws,).
        level: Confidence level in (0, 1).

    Raises LayoutmarkError for NaN or infinity, a level outside (0, 1), or fewer than 2 / (1 - level) draws: the tails
    would then hold less than one draw.

    >>> interval = bootstrap_interval(1.0, [0.0, 1.0, 2.0, 3.0, 4.0], level=0.5)
    >>> interval.low, interval.high
    (0.0, 2.0)
    """
    check_level(level)
    values = finite_vector("bootstrap draws", draws)
    low, high = shifted_quantiles(float(finite_vector("estimate", [estimate])[0]), values, level)
    return Interval(low, high, level, "bootstrap-shifted")


def jackknife_interval(estimate: float, leave_one_out: npt.ArrayLike, level: float = 0.95) -> Interval | None:
    """Delete-one-cluster jackknife interval; it tends to be too wide and is only used as a cross-check.

    The squared standard error is (G - 1) / G * sum((value - mean of values) ** 2) (Tukey 1958). The interval is
    estimate +- t * standard error with G - 1 degrees of freedom; for a mean of one item per cluster it equals
    `mean_interval`. Returns None for fewer than two clusters.

    Args:
        estimate: The statistic on all data.
        leave_one_out: The statistic without each of the G clusters in turn, shape (G,).
        level: Confidence level in (0, 1).

    Raises LayoutmarkError for NaN or infinity and for a level outside (0, 1).

    >>> interval = jackknife_interval(2.0, [2.5, 2.0, 1.5])
    >>> round(interval.low, 3), round(interval.high, 3)
    (-0.484, 4.484)
    """
    check_level(level)
    values = finite_vector("leave-one-out values", leave_one_out)
    centre = float(finite_vector("estimate", [estimate])[0])
    count = len(values)
    if count < 2:
        return None
    squares = 0.0 if np.ptp(values) == 0 else float(np.sum((values - values.mean()) ** 2))
    error = math.sqrt((count - 1) / count * squares)
    half_width = t_quantile(level, count - 1) * error
    return Interval(centre - half_width, centre + half_width, level, "jackknife")


def pseudo_values(estimate: float, leave_one_out: npt.ArrayLike, items: int | None = None) -> Floats:
    """Jackknife pseudo-values: each item's contribution to a statistic that is not a mean (Tukey 1958).

    Pseudo-value i is items * estimate - (items - 1) * (statistic without item i); for a mean it is item i itself.

    Args:
        estimate: The statistic on all data.
        leave_one_out: The statistic without each item in turn, or without each of some of the items; shape (n,).
        items: Number of all items (default: n).

    Raises LayoutmarkError for NaN or infinity.

    >>> pseudo_values(2.0, [2.5, 2.0, 1.5])
    array([1., 2., 3.])
    """
    values = finite_vector("leave-one-out values", leave_one_out)
    centre = float(finite_vector("estimate", [estimate])[0])
    count = len(values) if items is None else items
    return np.asarray(count * centre - (count - 1) * values, dtype=np.float64)
