"""Resampling of whole clusters, for statistics that are not means of items (AP above all).

AP of few images is too high, and resampling with replacement, which repeats images, smooths the ranking of detections:
bootstrap draws lie beside the estimate and vary too little.  The delete-one jackknife varies too much, and is not
consistent where a statistic jumps.  `half_weights` therefore takes random halves of the clusters, without replacement,
and `half_deviations` says how far the halves lie from one another: the delete-half jackknife (Shao and Wu, A general
theory for jackknife variance estimation, Annals of Statistics 17, 1989).  No image is repeated; all halves have the
same small-sample shift, so it cancels; for a mean the variance is exactly the usual one, hence t for the interval.
`tests/validity/coverage.py` measures it beside the bootstraps (shifted, basic, BCa) and the delete-one jackknife.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics.clusters import Floats, cluster_index, finite
from layoutmark.statistics.interval import Interval, check_level, t_quantile


def cluster_weights(clusters: Sequence[str], draws: int, seed: int) -> npt.NDArray[np.int32]:
    """How often each item is drawn when whole clusters are resampled with replacement; shape (draws, n).

    clusters: n keys.  Each draw takes as many clusters as there are, so items of one cluster share a weight.
    The same keys, draws and seed give equal bytes, on every platform and numpy version; the first rows do not
    change when more are asked for, and a column follows its item when items change places.  With one cluster all
    weights are 1: there is nothing to resample, and no interval should be made from it.

    Raises LayoutmarkError when `draws` is below 1 or `seed` is negative.
    """
    if draws < 1:
        raise LayoutmarkError("bootstrap draws", found=str(draws), expected="at least 1", do="Ask for 1000 or more.")
    _check_seed(seed)
    index, count = cluster_index(clusters)
    weights = np.empty((draws, len(index)), dtype=np.int32)
    # Only the raw stream of a bit generator is promised to stay as it is; Generator methods may change with numpy.
    # The remainder favours no cluster by more than count / 2**64.
    source = np.random.PCG64(seed)
    for row in range(draws if count else 0):
        drawn = np.asarray(source.random_raw(count), dtype=np.uint64) % np.uint64(count)
        weights[row] = np.bincount(drawn.astype(np.intp), minlength=count)[index]
    return weights


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise LayoutmarkError("resampling seed", found=str(seed), expected="0 or more", do="Make it with derive_seed.")


def half_weights(clusters: Sequence[str], draws: int, seed: int) -> npt.NDArray[np.int32]:
    """Random halves of the clusters as weights 0 and 1; shape (draws, n).  Rows 2 k and 2 k + 1 are one split.

    clusters: n keys; items of one cluster stay together.  Of an odd number of clusters the second half has one more.
    Deterministic like `cluster_weights`.  With one cluster every first half is empty.

    Raises LayoutmarkError when `draws` is not an even number from 2, or `seed` is negative.
    """
    if draws < 2 or draws % 2:
        raise LayoutmarkError("half-samples", found=str(draws), expected="an even number from 2", do="Ask for 1000.")
    _check_seed(seed)
    index, count = cluster_index(clusters)
    weights = np.empty((draws, len(index)), dtype=np.int32)
    source = np.random.PCG64(seed)
    chosen = np.empty(count, dtype=np.int32)
    for row in range(0, draws, 2):
        chosen[:] = 0
        chosen[np.argsort(source.random_raw(count), kind="stable")[: count // 2]] = 1
        weights[row] = chosen[index]
        weights[row + 1] = 1 - weights[row]
    return weights


def half_deviations(values: npt.ArrayLike, clusters: int) -> Floats:
    """How far a statistic may be off, (draws,), out of its values (draws,) under `half_weights` of `clusters`.

    Each is the value of a half less the mean of the halves of its size, times sqrt(m / (G - m)) for a half of m of G
    clusters, so that of a mean of one item per cluster the mean square is in expectation the squared standard error.
    Deviations of two methods under the same halves subtract.

    Raises LayoutmarkError for numbers not finite or an odd number of them.
    """
    found = finite("values of half-samples", values)
    if len(found) % 2:
        raise LayoutmarkError(
            "values of half-samples", found=str(len(found)), expected="two for each split", do="Pass both halves."
        )
    first = clusters // 2
    sizes = np.array([first, clusters - first], dtype=np.float64)
    scale = np.sqrt(sizes / np.maximum(clusters - sizes, 1))
    halves = found.reshape(-1, 2)
    centre = np.where(np.ptp(halves, axis=0) == 0, halves[:1], halves.mean(axis=0)) if len(halves) else 0.0
    return np.asarray((halves - centre) * scale, dtype=np.float64).ravel()


def standard_error(deviations: Floats, scale: float) -> float:
    """Root mean square of deviations; exactly 0 below the rounding of numbers of size `scale`."""
    error = float(np.sqrt(np.mean(deviations**2))) if len(deviations) else 0.0
    return 0.0 if error <= 8 * np.finfo(np.float64).eps * abs(scale) else error


def half_sample_interval(
    estimate: float, deviations: npt.ArrayLike, clusters: int, level: float = 0.95
) -> Interval | None:
    """Estimate +- t * standard error, t with (clusters - 1) degrees of freedom, the error by `half_deviations`.

    For a mean it is the interval of `mean_interval`, up to the number of splits.  Not clipped to the range of the
    statistic.  None when fewer than two clusters.  Raises LayoutmarkError for numbers not finite, no deviations, or a
    level outside (0, 1).
    """
    check_level(level)
    found, centre = finite("deviations", deviations), float(finite("estimate", [estimate])[0])
    if clusters < 2:
        return None
    if not len(found):
        raise LayoutmarkError("deviations", found="none", expected="one for each half", do="Draw some half-samples.")
    reach = t_quantile(level, clusters - 1) * standard_error(found, centre)
    return Interval(centre - reach, centre + reach, level, "delete-half-jackknife-t")


def shifted_quantiles(estimate: float, draws: Floats, level: float) -> tuple[float, float]:
    """Quantiles of `draws` at (1 -+ level) / 2, both moved by (estimate - mean of the draws)."""
    least = math.ceil(round(2 / (1 - level), 6))
    if len(draws) < least:
        raise LayoutmarkError(
            "bootstrap draws", found=str(len(draws)), expected=f"at least {least} at level {level}", do="Draw more."
        )
    # Means of equal numbers can be off by a rounding; equal draws carry no shift beyond their own value.
    centre = float(draws[0]) if np.ptp(draws) == 0 else float(draws.mean())
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(estimate + (low - centre)), float(estimate + (high - centre))


def bootstrap_interval(estimate: float, draws: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Bootstrap interval of any statistic, corrected for the shift of the draws; a cross-check, as is the jackknife.

    estimate: the statistic on the data as they are.  draws: shape (draws,), the statistic under each row of
    `cluster_weights`.  With s = mean(draws) - estimate, the interval is
    [quantile((1 - level) / 2) - s, quantile((1 + level) / 2) - s].  Not clipped to the range of the statistic.

    Raises LayoutmarkError for numbers not finite, a level outside (0, 1), or fewer draws than 2 / (1 - level): the
    tails then hold less than one draw.
    """
    check_level(level)
    values = finite("bootstrap draws", draws)
    low, high = shifted_quantiles(float(finite("estimate", [estimate])[0]), values, level)
    return Interval(low, high, level, "bootstrap-shifted")


def jackknife_interval(estimate: float, leave_one_out: npt.ArrayLike, level: float = 0.95) -> Interval | None:
    """Delete-one-cluster jackknife interval, which is wide rather than narrow.

    leave_one_out: shape (clusters,), the statistic without each cluster in turn.  The squared standard error is
    (G - 1) / G * sum((value - mean of values) ** 2) (Tukey 1958); the interval is estimate +- t * standard error with
    G - 1 degrees of freedom, so for a mean of one item per cluster it equals `mean_interval`.
    None when fewer than two clusters.  Raises LayoutmarkError for numbers not finite or a level outside (0, 1).
    """
    check_level(level)
    values = finite("leave-one-out values", leave_one_out)
    centre = float(finite("estimate", [estimate])[0])
    count = len(values)
    if count < 2:
        return None
    squares = 0.0 if np.ptp(values) == 0 else float(np.sum((values - values.mean()) ** 2))
    error = math.sqrt((count - 1) / count * squares)
    reach = t_quantile(level, count - 1) * error
    return Interval(centre - reach, centre + reach, level, "jackknife")


def pseudo_values(estimate: float, leave_one_out: npt.ArrayLike, items: int | None = None) -> Floats:
    """What each item contributes to a statistic that is no mean of items (Tukey 1958).

    leave_one_out: shape (n,), the statistic without each item in turn, or without some of the `items` there are.
    Value i is items * estimate - (items - 1) * value without i; for a mean it is item i itself.  Raises LayoutmarkError
    for numbers not finite.
    """
    values, centre = finite("leave-one-out values", leave_one_out), float(finite("estimate", [estimate])[0])
    count = len(values) if items is None else items
    return np.asarray(count * centre - (count - 1) * values, dtype=np.float64)
