"""Differences between two methods on the same images, with interval and p-value.

An easy prompt or a crowded layout affects both methods alike, so it cancels in the difference. A paired comparison
therefore detects differences that two separate intervals would hide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from layoutmark.statistics.clusters import check_same_length, clustered_mean, finite_vector
from layoutmark.statistics.interval import check_level, t_quantile
from layoutmark.statistics.resampling import half_sample_interval, standard_error


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """First minus second method, in the unit of the metric, with its interval and two-sided p-value.

    `n` counts the paired images and `clusters` their prompts; `n` is None if the caller of
    `paired_statistic_difference` did not give it. Interval and p-value follow from `standard_error`.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int | None
    clusters: int
    standard_error: float


def paired_mean_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, clusters: Sequence[str], level: float = 0.95
) -> PairedDifference | None:
    """Mean of a - b, with the cluster-robust t interval of `mean_interval` and the corresponding t test.

    Returns None for fewer than two clusters. The interval excludes 0 exactly when p < 1 - level.

    If the differences do not vary between clusters, t is undefined. The interval is then the difference itself; p is 1
    for a difference of zero and otherwise 2 ** (1 - clusters), the sign-flip test when all clusters agree in sign, so
    two agreeing prompts do not become a certainty.

    Args:
        a: Finite scores of the first method, shape (n,).
        b: Those of the second, shape (n,); item i of both has the same sample and seed.
        clusters: n cluster keys (prompts).
        level: Confidence level in (0, 1).

    Raises LayoutmarkError for NaN or infinity, unequal lengths, or a level outside (0, 1).

    >>> result = paired_mean_difference([0.6, 0.8, 0.7], [0.5, 0.6, 0.6], ["x", "y", "z"])
    >>> round(result.difference, 3), round(result.low, 3), round(result.high, 3), round(result.p, 3)
    (0.133, -0.01, 0.277, 0.057)
    """
    check_level(level)
    first, second = finite_vector("first values", a), finite_vector("second values", b)
    check_same_length("second values", len(second), len(first))
    # However small a - b is, its rounding error is that of a and b.
    scale = float(max(np.abs(first).max(initial=0.0), np.abs(second).max(initial=0.0)))
    summary = clustered_mean(first - second, clusters, scale)
    if summary is None:
        return None
    error, degrees_of_freedom = summary.standard_error, summary.clusters - 1
    mean, p = _difference_and_p(summary.mean, error, degrees_of_freedom, scale)
    half_width = t_quantile(level, degrees_of_freedom) * error
    return PairedDifference(mean, mean - half_width, mean + half_width, p, summary.n, summary.clusters, error)


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
    """Difference of a statistic that is not a mean over images, such as AP.

    Interval and p-value are those of `half_sample_interval` on the differences of the deviations; the interval excludes
    0 exactly when p < 1 - level. Without any variation, p is as in `paired_mean_difference`. Returns None for fewer
    than two clusters.

    Args:
        estimate_a: The statistic of the first method.
        estimate_b: That of the second.
        deviations_a: `half_sample_deviations` of the first method, shape (draws,).
        deviations_b: Those of the second, from the SAME rows of `half_sample_weights`. This cannot be checked here:
            deviations of different halves are unpaired, and the result would be wrong.
        clusters: Number of clusters (prompts).
        level: Confidence level in (0, 1).
        n: Number of paired images, only passed on to the result.

    Raises LayoutmarkError for NaN or infinity, unequal lengths, no deviations, or a level outside (0, 1).

    >>> result = paired_statistic_difference(0.6, 0.5, [0.02, -0.02], [0.01, -0.01], 30)
    >>> round(result.difference, 3), round(result.low, 3), round(result.high, 3)
    (0.1, 0.08, 0.12)
    """
    check_level(level)
    first, second = finite_vector("first deviations", deviations_a), finite_vector("second deviations", deviations_b)
    check_same_length("second deviations", len(second), len(first))
    estimates = finite_vector("estimates", [estimate_a, estimate_b])
    difference, scale = float(estimates[0] - estimates[1]), float(np.abs(estimates).max())
    if half_sample_interval(difference, first - second, clusters, level) is None:
        return None
    error = standard_error(first - second, scale)
    difference, p = _difference_and_p(difference, error, clusters - 1, scale)
    half_width = t_quantile(level, clusters - 1) * error
    return PairedDifference(difference, difference - half_width, difference + half_width, p, n, clusters, error)


def _difference_and_p(difference: float, error: float, degrees_of_freedom: int, scale: float) -> tuple[float, float]:
    """The difference, set to exactly 0 if it is only rounding error, and its two-sided p-value."""
    if error > 0:
        return difference, float(2 * stdtr(degrees_of_freedom, -abs(difference) / error))
    # The mean difference of numbers that print alike may still be one unit in the last place.
    difference = 0.0 if abs(difference) <= 4 * np.finfo(np.float64).eps * scale else difference
    return difference, 1.0 if difference == 0 else 2.0**-degrees_of_freedom
