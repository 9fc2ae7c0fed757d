"""How many seeds and prompts a comparison needs, from a pilot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics.clusters import cluster_index, finite, same_length
from layoutmark.statistics.power import needed_clusters


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviations of a difference, in its unit: between prompts, and between seeds of one prompt.

    `seeds` is None when no prompt has two: the two cannot be told apart, and `prompts` holds both.
    """

    prompts: float
    seeds: float | None


@dataclass(frozen=True, slots=True)
class Design:
    """`prompts` with `seeds` each are the fewest prompts that detect the difference; `images` per method in all."""

    seeds: int
    prompts: int
    images: int


def split_spread(differences: npt.ArrayLike, clusters: Sequence[str]) -> Spread:
    """Variance components of a pilot by the analysis of variance of one random factor (Searle 1971).

    differences: shape (n,), a - b per image (of a metric that is no mean: `pseudo_values` of one less those of the
    other).  clusters: n prompts.  A component below zero is zero.

    Raises LayoutmarkError for numbers not finite, unequal lengths, or fewer than two prompts.
    """
    values = finite("differences", differences)
    same_length("cluster keys", len(clusters), len(values))
    index, count = cluster_index(clusters)
    if count < 2:
        raise LayoutmarkError(
            "pilot", found=f"{count} prompt{'' if count == 1 else 's'}", expected="at least 2", do="Run more prompts."
        )
    sizes = np.bincount(index)
    means = np.bincount(index, weights=values) / sizes
    n = len(values)
    between = float(np.sum(sizes * (means - values.mean()) ** 2)) / (count - 1)
    if n == count:
        return Spread(math.sqrt(between), None)
    within = float(np.sum((values - means[index]) ** 2)) / (n - count)
    usual = (n - float(np.sum(sizes**2)) / n) / (count - 1)
    return Spread(math.sqrt(max(0.0, (between - within) / usual)), math.sqrt(within))


def designs(
    spread: Spread, detect: float, seeds: Sequence[int] = (1, 2, 4, 8), level: float = 0.95, power: float = 0.8
) -> list[Design]:
    """For each number of seeds the fewest prompts with which a true difference of `detect` is found.

    Found means: the interval of `level` lies on one side of zero, with probability `power`.  A pilot without two seeds
    of a prompt answers for the number of seeds it had, taken as 1; more seeds cannot be promised to help.

    Raises LayoutmarkError as `needed_clusters` does.
    """
    if spread.seeds is None:
        seeds = (1,)
    found = []
    for k in seeds:
        deviation = math.sqrt(spread.prompts**2 + (spread.seeds or 0.0) ** 2 / k)
        prompts = needed_clusters(deviation, detect, level, power)
        found.append(Design(k, prompts, k * prompts))
    return found
