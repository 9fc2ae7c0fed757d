"""Differences between two methods on the same samples, with interval and p-value.

What two methods share (an easy prompt, a crowded layout) cancels in the difference, so a paired comparison sees
differences that two separate intervals hide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from layoutmark.statistics.clusters import clustered_mean, finite, same_length
from layoutmark.statistics.interval import check_level, t_quantile
from layoutmark.statistics.resampling import half_sample_interval, standard_error


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """First minus second, in the unit of the metric, with its interval, two-sided p-value, and what it rests on.

    `n` counts paired items and `clusters` their prompts; `n` is None when the caller of a resampled difference kept it.
    `error` is the standard error that interval and p follow from.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int | None
    clusters: int
    error: float


def paired_mean_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, clusters: Sequence[str], level: float = 0.95
) -> PairedDifference | None:
    """Mean of a - b with the cluster-robust t interval and test of `mean_interval`.

    a, b: shape (n,), finite; item i of both is the same sample and seed.  clusters: n keys, the prompt text.
    None when fewer than two clusters.  The interval leaves out 0 exactly when p < 1 - level.

    Without any spread between clusters t is not defined.  Then the interval is the difference itself; p is 1 for a
    difference of zero and otherwise 2 ** (1 - clusters), the sign-flip test when all clusters point one way, so that
    two agreeing prompts do not become a certainty.

    Raises LayoutmarkError for numbers not finite, unequal lengths, or a level outside (0, 1).
    """
    check_level(level)
    first, second = finite("first values", a), finite("second values", b)
    same_length("second values", len(second), len(first))
    # Rounding of a - b is that of a and b, however small the difference is.
    scale = float(max(np.abs(first).max(initial=0.0), np.abs(second).max(initial=0.0)))
    summary = clustered_mean(first - second, clusters, scale)
    if summary is None:
        return None
    error, freedom = summary.standard_error, summary.clusters - 1
    mean, p = _tested(summary.mean, error, freedom, scale)
    reach = t_quantile(level, freedom) * error
    return PairedDifference(mean, mean - reach, mean + reach, p, summary.n, summary.clusters, error)


def paired_statistic_difference(
    estimate_a: float,
    estimate_b: float,
    deviations_a: npt.ArrayLike,
    deviations_b: npt.ArrayLike,
    clusters: int,
    level: float = 0.95,
    *,
    n: int | None = None,
) -> PairedDifference | None:
    """Difference of a statistic that is no mean of items (AP), from `half_deviations` of both under the SAME halves.

    deviations_a, deviations_b: shape (draws,); entry k of both comes from row k of one `half_weights`.
    Deviations of different halves are not paired, and nothing in the numbers could tell: the caller sees to it.
    Interval and p are those of `half_sample_interval` on the differences: the interval leaves out 0 exactly when
    p < 1 - level.  Without any spread p is as in `paired_mean_difference`.  None when fewer than two clusters.

    Raises LayoutmarkError for numbers not finite, unequal lengths, none at all, or a level outside (0, 1).
    """
    check_level(level)
    first, second = finite("first deviations", deviations_a), finite("second deviations", deviations_b)
    same_length("second deviations", len(second), len(first))
    estimates = finite("estimates", [estimate_a, estimate_b])
    difference, scale = float(estimates[0] - estimates[1]), float(np.abs(estimates).max())
    if half_sample_interval(difference, first - second, clusters, level) is None:
        return None
    error = standard_error(first - second, scale)
    difference, p = _tested(difference, error, clusters - 1, scale)
    reach = t_quantile(level, clusters - 1) * error
    return PairedDifference(difference, difference - reach, difference + reach, p, n, clusters, error)


def _tested(difference: float, error: float, freedom: int, scale: float) -> tuple[float, float]:
    """The difference, exactly 0 where it is only rounding, and its two-sided p."""
    if error > 0:
        return difference, float(2 * stdtr(freedom, -abs(difference) / error))
    # Differences of numbers that print the same may leave a last-bit mean behind.
    difference = 0.0 if abs(difference) <= 4 * np.finfo(np.float64).eps * scale else difference
    return difference, 1.0 if difference == 0 else 2.0**-freedom
