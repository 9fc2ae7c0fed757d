"""How many prompts a comparison needs."""

from __future__ import annotations

import math
from statistics import NormalDist

from scipy.special import nctdtr

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics.interval import check_level, t_quantile

# Above this many clusters Student's t and the normal distribution give the same count within one.
LARGE = 10_000


def needed_clusters(std_difference: float, margin: float, level: float = 0.95, power: float = 0.8) -> int:
    """The least number of clusters (prompts) with which a paired comparison answers with probability `power`.

    std_difference: standard deviation, between clusters, of the cluster means of a - b.  margin: a difference in the
    same unit, above 0.  Two questions have this one answer: how many prompts until a true difference of `margin` gives
    an interval of `level` above zero, and how many until two equal methods give an interval above -margin (the
    non-inferiority gate).  Power of the t test by the noncentral t distribution; at least 2.

    Raises LayoutmarkError for a negative or not finite deviation, a margin not above 0, or shares outside (0, 1).
    """
    check_level(level)
    if not 0.0 < power < 1.0:
        raise LayoutmarkError("power", found=repr(power), expected="a share between 0 and 1", do="Write 80 % as 0.8.")
    if not (math.isfinite(std_difference) and std_difference >= 0):
        raise LayoutmarkError(
            "standard deviation", found=repr(std_difference), expected="a finite number, 0 or more", do="Measure it."
        )
    if not (math.isfinite(margin) and margin > 0):
        raise LayoutmarkError(
            "margin",
            found=repr(margin),
            expected="a finite number above 0",
            do="State the least difference that matters.",
        )
    if std_difference == 0:
        return 2
    effect = margin / std_difference
    z = NormalDist().inv_cdf(0.5 + level / 2)
    # The normal approximation never asks for more clusters than the t test does, so it is where the search starts.
    normal = (max(0.0, z + NormalDist().inv_cdf(power)) / effect) ** 2
    if normal > LARGE:
        return math.ceil(normal + z * z / 2)
    clusters = max(2, math.floor(normal))
    while not _reaches(clusters, effect, level, power):
        clusters += 1
    return clusters


def _reaches(clusters: int, effect: float, level: float, power: float) -> bool:
    freedom = clusters - 1
    miss = float(nctdtr(freedom, effect * math.sqrt(clusters), t_quantile(level, freedom)))
    return 1 - miss >= power
