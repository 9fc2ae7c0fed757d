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
from layoutmark.statistics.resampling import shifted_quantiles

RESOLVED = 10
"""Draws beyond an estimate from which on their share says how likely that is; fewer say only that it is not."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """First minus second, in the unit of the metric, with its interval, two-sided p-value, and what it rests on.

    `n` counts paired items and `clusters` their prompts; None when the caller of a resampled difference kept them.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int | None
    clusters: int | None


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
    mean, error, freedom = summary.mean, summary.standard_error, summary.clusters - 1
    if error > 0:
        p = float(2 * stdtr(freedom, -abs(mean) / error))
    else:
        # Differences of numbers that print the same may leave a last-bit mean behind.
        mean = 0.0 if abs(mean) <= 4 * np.finfo(np.float64).eps * scale else mean
        p = 1.0 if mean == 0 else 2.0**-freedom
    reach = t_quantile(level, freedom) * error
    return PairedDifference(mean, mean - reach, mean + reach, p, summary.n, summary.clusters)


def paired_statistic_difference(
    estimate_a: float,
    estimate_b: float,
    draws_a: npt.ArrayLike,
    draws_b: npt.ArrayLike,
    level: float = 0.95,
    *,
    n: int | None = None,
    clusters: int | None = None,
) -> PairedDifference:
    """Difference of a statistic that is no mean of items (AP), from draws on the SAME resampling weights.

    draws_a, draws_b: shape (draws,); entry k of both was computed under row k of one `cluster_weights`.  Draws made
    from different weights are not paired, and nothing in the numbers could tell: the caller sees to it.
    The interval is `bootstrap_interval` of the differences.  p is two-sided, from the differences centred at their
    mean, which stand for no difference: (1 + how many are at least as far from 0 as the estimate) / (1 + draws).
    It is never 0, and never below 1 / (1 + draws); before Holm over m comparisons take many more than 20 * m draws, or
    give `clusters`: then, where fewer than `RESOLVED` draws are that far, p is the tail of Student's t with
    clusters - 1 degrees of freedom at the estimate over the draws' standard deviation.  Identical data give p = 1.

    Raises LayoutmarkError for numbers not finite, unequal lengths, too few draws, or a level outside (0, 1).
    """
    check_level(level)
    first, second = finite("first draws", draws_a), finite("second draws", draws_b)
    same_length("second draws", len(second), len(first))
    estimates = finite("estimates", [estimate_a, estimate_b])
    difference = float(estimates[0] - estimates[1])
    draws = first - second
    low, high = shifted_quantiles(difference, draws, level)
    # A draw that equals the estimate must count as equal, whatever the last bit says.
    slack = 8 * float(np.finfo(np.float64).eps * np.abs(estimates).max())
    far = int(np.sum(np.abs(draws - draws.mean()) >= abs(difference) - slack))
    p, error = (1 + far) / (1 + len(draws)), float(draws.std(ddof=1))
    if clusters is not None and clusters > 1 and far < RESOLVED and error > 0:
        tail = float(2 * stdtr(clusters - 1, -abs(difference) / error))
        p = min(tail, (1 + RESOLVED) / (1 + len(draws)))
    return PairedDifference(difference, low, high, p, n, clusters)
