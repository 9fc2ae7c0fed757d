"""How many seeds and prompts a comparison needs, from a pilot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics.clusters import cluster_index, clustered_mean, finite, same_length
from layoutmark.statistics.power import needed_clusters


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviations of a difference, in its unit: between prompts, and between seeds of one sample.

    `seeds` is None when no sample has two: the two cannot be told apart, and `prompts` holds both.
    `samples`: how many samples a prompt has on average.
    """

    prompts: float
    seeds: float | None
    samples: float = 1.0


@dataclass(frozen=True, slots=True)
class Design:
    """`prompts` with `seeds` each are the fewest prompts that detect the difference; `images` per method in all."""

    seeds: int
    prompts: int
    images: int


def split_spread(differences: npt.ArrayLike, prompts: Sequence[str], samples: Sequence[str] = ()) -> Spread:
    """Variance components of a pilot: its error by prompts, less what seeds within samples explain of it.

    differences: shape (n,), a - b per image (of a metric that is no mean: `pseudo_values` of one less those of the
    other).  prompts, samples: n keys each; without samples every prompt has one.  Where every prompt has as many seeds
    of one sample it is the analysis of variance of one random factor (Searle 1971).  A component below zero is zero.

    Raises LayoutmarkError for numbers not finite, unequal lengths, or fewer than two prompts.
    """
    values = finite("differences", differences)
    keys = samples or prompts
    same_length("sample keys", len(keys), len(values))
    mean = clustered_mean(values, prompts)
    if mean is None:
        count = len(set(prompts))
        raise LayoutmarkError(
            "pilot", found=f"{count} prompt{'' if count == 1 else 's'}", expected="at least 2", do="Run more prompts."
        )
    of_prompts = mean.standard_error**2 * mean.clusters
    index, count = cluster_index(keys)
    n = len(values)
    if n == count:
        return Spread(math.sqrt(of_prompts), None, count / mean.clusters)
    means = np.bincount(index, weights=values) / np.bincount(index)
    within = float(np.sum((values - means[index]) ** 2)) / (n - count)
    between = max(0.0, of_prompts - within * mean.clusters / n)
    return Spread(math.sqrt(between), math.sqrt(within), count / mean.clusters)


def designs(
    spread: Spread, detect: float, seeds: Sequence[int] = (1, 2, 4, 8), level: float = 0.95, power: float = 0.8
) -> list[Design]:
    """For each number of seeds the fewest prompts with which a true difference of `detect` is found.

    Found means: the interval of `level` lies on one side of zero, with probability `power`.  A pilot without two seeds
    of a sample answers for the number of seeds it had, taken as 1; more seeds cannot be promised to help.

    Raises LayoutmarkError as `needed_clusters` does.
    """
    if spread.seeds is None:
        seeds = (1,)
    found = []
    for k in seeds:
        deviation = math.sqrt(spread.prompts**2 + (spread.seeds or 0.0) ** 2 / (k * spread.samples))
        prompts = needed_clusters(deviation, detect, level, power)
        found.append(Design(k, prompts, math.ceil(k * prompts * spread.samples)))
    return found
