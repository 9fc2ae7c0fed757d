"""An interval with its level and the way it was made, and the interval of a mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy.typing as npt
from scipy.special import stdtrit

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics.clusters import clustered_mean, finite


@dataclass(frozen=True, slots=True)
class Interval:
    """`low` and `high` in the unit of the value, the confidence `level` in (0, 1), and the `method` that made it."""

    low: float
    high: float
    level: float
    method: str


def check_level(level: float) -> None:
    """Raise LayoutmarkError unless `level` is a share strictly between 0 and 1."""
    if not 0.0 < level < 1.0:
        raise LayoutmarkError(
            "confidence level", found=repr(level), expected="a share between 0 and 1", do="Write 95 % as 0.95."
        )


def t_quantile(level: float, freedom: int) -> float:
    """How many standard errors a two-sided interval of `level` reaches to each side (Student's t)."""
    return float(stdtrit(freedom, 0.5 + level / 2))


def mean_interval(values: npt.ArrayLike, clusters: Sequence[str], level: float = 0.95) -> Interval | None:
    """The interval of a mean whose items come in clusters.

    values: shape (n,), finite.  clusters: n keys, the prompt text; seeds of a prompt lie inside its cluster.
    The interval is mean +- t * standard error, cluster-robust, t with (clusters - 1) degrees of freedom.
    None when fewer than two clusters: nothing then tells how prompts differ.

    Bounds are never clipped to the range of the metric: a share near 1 may have `high` above 1.  Clipping would hide
    that the approximation is poor there.  For the same reason, equal values in every cluster give a width of zero,
    which says that no variation was seen and not that there is none.

    Raises LayoutmarkError for a number that is not finite, unequal lengths, or a level outside (0, 1).
    """
    check_level(level)
    summary = clustered_mean(finite("values", values), clusters)
    if summary is None:
        return None
    reach = t_quantile(level, summary.clusters - 1) * summary.standard_error
    return Interval(summary.mean - reach, summary.mean + reach, level, "clustered-t")
