"""Confidence intervals, and the interval of a mean of clustered values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy.typing as npt
from scipy.special import stdtrit

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics.clusters import clustered_mean, finite_vector


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval from `low` to `high`, in the unit of the value.

    `level` is the confidence level in (0, 1); `method` names the way the interval was computed.
    """

    low: float
    high: float
    level: float
    method: str


def check_level(level: float) -> None:
    """Raise LayoutmarkError unless `level` lies strictly between 0 and 1.

    >>> check_level(0.95)
    """
    if not 0.0 < level < 1.0:
        raise LayoutmarkError(
            "confidence level", found=repr(level), expected="a share between 0 and 1", do="Write 95 % as 0.95."
        )


def t_quantile(level: float, degrees_of_freedom: int) -> float:
    """Half-width of a two-sided Student t interval of `level`, in standard errors.

    >>> round(t_quantile(0.95, 10), 3)
    2.228
    """
    return float(stdtrit(degrees_of_freedom, 0.5 + level / 2))


def mean_interval(values: npt.ArrayLike, clusters: Sequence[str], level: float = 0.95) -> Interval | None:
    """Confidence interval of the mean of clustered values.

    The interval is mean +- t * standard error, with the cluster-robust standard error of `clustered_mean` and t with
    (clusters - 1) degrees of freedom. Returns None for fewer than two clusters: nothing then shows how prompts differ.

    The bounds are not clipped to the range of the metric: a share near 1 may have `high` above 1. Clipping would hide
    that the approximation is poor there. Equal values in all clusters give an interval of width zero, which means that
    no variation was observed, not that there is none.

    Args:
        values: Finite numbers, shape (n,).
        clusters: n cluster keys (prompts); the seeds of a prompt share its cluster.
        level: Confidence level in (0, 1).

    Raises LayoutmarkError for NaN or infinity, unequal lengths, or a level outside (0, 1).

    >>> interval = mean_interval([0.5, 0.7, 0.6, 0.8], ["a", "b", "c", "d"])
    >>> round(interval.low, 3), round(interval.high, 3), interval.method
    (0.445, 0.855, 'clustered-t')
    """
    check_level(level)
    summary = clustered_mean(finite_vector("values", values), clusters)
    if summary is None:
        return None
    half_width = t_quantile(level, summary.clusters - 1) * summary.standard_error
    return Interval(summary.mean - half_width, summary.mean + half_width, level, "clustered-t")
