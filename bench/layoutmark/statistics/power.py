"""How many prompts a comparison needs, from the standard deviation of its differences."""

from __future__ import annotations

import math
from statistics import NormalDist

from scipy.special import nctdtr

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics.interval import check_level, t_quantile

MAX_CLUSTERS_BY_T_TEST = 10_000
"""Above this many clusters, Student's t and the normal distribution give counts that differ by at most one."""


def needed_clusters(std_difference: float, margin: float, level: float = 0.95, power: float = 0.8) -> int:
    """The fewest clusters (prompts) with which a paired comparison reaches its goal with probability `power`.

    The same count answers two questions: how many prompts until a true difference of `margin` gives an interval of
    confidence `level` above zero, and how many until two equal methods give an interval above -margin (the
    non-inferiority gate). Computed from the noncentral t distribution; at least 2.

    Args:
        std_difference: Standard deviation, between clusters, of the cluster means of a - b.
        margin: A difference in the same unit, above 0.
        level: Confidence level in (0, 1).
        power: Probability of success in (0, 1).

    Raises LayoutmarkError for a negative or non-finite deviation, a margin of 0 or less, and shares outside (0, 1).

    >>> needed_clusters(0.2, margin=0.1)
    34
    """
    check_level(level)
    if not 0.0 < power < 1.0:
        raise LayoutmarkError("power", found=repr(power), expected="a share between 0 and 1", do="Write 80 % as 0.8.")
    if not (math.isfinite(std_difference) and std_difference >= 0):
        raise LayoutmarkError(
            "standard deviation",
            found=repr(std_difference),
            expected="a finite number, 0 or more",
            do="Estimate it from a pilot run.",
        )
    if not (math.isfinite(margin) and margin > 0):
        raise LayoutmarkError(
            "margin",
            found=repr(margin),
            expected="a finite number above 0",
            do="Give the smallest difference that matters.",
        )
    if std_difference == 0:
        return 2
    effect = margin / std_difference
    z = NormalDist().inv_cdf(0.5 + level / 2)
    # The normal approximation never asks for more clusters than the t test, so the search starts from it.
    normal_count = (max(0.0, z + NormalDist().inv_cdf(power)) / effect) ** 2
    if normal_count > MAX_CLUSTERS_BY_T_TEST:
        return math.ceil(normal_count + z * z / 2)
    clusters = max(2, math.floor(normal_count))
    while not _has_power(clusters, effect, level, power):
        clusters += 1
    return clusters


def _has_power(clusters: int, effect: float, level: float, power: float) -> bool:
    degrees_of_freedom = clusters - 1
    miss = float(nctdtr(degrees_of_freedom, effect * math.sqrt(clusters), t_quantile(level, degrees_of_freedom)))
    return 1 - miss >= power
