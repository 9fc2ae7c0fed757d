"""How many prompts and seeds a comparison needs, estimated from a pilot run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError
from layoutmark.plurals import counted
from layoutmark.statistics.clusters import check_same_length, cluster_indices, clustered_mean, finite_vector
from layoutmark.statistics.power import needed_clusters


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviations of a difference, in its unit: between prompts, and between the seeds of one sample.

    `between_seeds` is None when no sample has two seeds: the two components cannot then be separated, and
    `between_prompts` covers both. `samples_per_prompt` is an average.
    """

    between_prompts: float
    between_seeds: float | None
    samples_per_prompt: float = 1.0


@dataclass(frozen=True, slots=True)
class Design:
    """The fewest `prompts`, with `seeds` seeds each, that detect a difference; `images` is the total per method."""

    seeds: int
    prompts: int
    images: int


def estimate_spread(differences: npt.ArrayLike, prompts: Sequence[str], samples: Sequence[str] = ()) -> Spread:
    """Estimate variance components from a pilot: variance between prompts, and between the seeds of one sample.

    The variance between prompts is that of the clustered standard error minus the share explained by seeds; a negative
    component becomes zero. If all prompts have one sample with equally many seeds, this is a one-way random-effects
    analysis of variance (Searle 1971).

    Args:
        differences: a - b per image, shape (n,). For a metric that is not a mean over images: the difference of the two
            methods' `pseudo_values`.
        prompts: n prompt keys.
        samples: n sample keys (default: one sample per prompt).

    Raises LayoutmarkError for NaN or infinity, unequal lengths, or fewer than two prompts.

    >>> spread = estimate_spread([0.0, 2.0, 2.0, 4.0], ["p", "p", "q", "q"])
    >>> round(spread.between_prompts, 3), round(spread.between_seeds, 3)
    (1.0, 1.414)
    """
    values = finite_vector("differences", differences)
    sample_keys = samples or prompts
    check_same_length("sample keys", len(sample_keys), len(values))
    mean = clustered_mean(values, prompts)
    if mean is None:
        count = len(set(prompts))
        raise LayoutmarkError("pilot", found=counted(count, "prompt"), expected="at least 2", do="Run more prompts.")
    total_variance = mean.standard_error**2 * mean.clusters
    indices, count = cluster_indices(sample_keys)
    n = len(values)
    if n == count:
        return Spread(math.sqrt(total_variance), None, count / mean.clusters)
    sample_means = np.bincount(indices, weights=values) / np.bincount(indices)
    seed_variance = float(np.sum((values - sample_means[indices]) ** 2)) / (n - count)
    prompt_variance = max(0.0, total_variance - seed_variance * mean.clusters / n)
    return Spread(math.sqrt(prompt_variance), math.sqrt(seed_variance), count / mean.clusters)


def smallest_designs(
    spread: Spread, detect: float, seeds: Sequence[int] = (1, 2, 4, 8), level: float = 0.95, power: float = 0.8
) -> list[Design]:
    """For each number of seeds, the fewest prompts that detect a true difference of `detect`.

    A difference is detected if its interval of confidence `level` excludes zero; this must happen with probability
    `power`. If no sample of the pilot had two seeds, only the pilot's own number of seeds is planned for, reported as
    1: nothing then tells whether more seeds would help.

    Raises LayoutmarkError under the conditions of `needed_clusters`.

    >>> smallest_designs(Spread(between_prompts=0.2, between_seeds=0.3), detect=0.1, seeds=(1, 4))
    [Design(seeds=1, prompts=104, images=104), Design(seeds=4, prompts=52, images=208)]
    """
    if spread.between_seeds is None:
        seeds = (1,)
    designs = []
    for k in seeds:
        deviation = math.sqrt(
            spread.between_prompts**2 + (spread.between_seeds or 0.0) ** 2 / (k * spread.samples_per_prompt)
        )
        prompts = needed_clusters(deviation, detect, level, power)
        designs.append(Design(k, prompts, math.ceil(k * prompts * spread.samples_per_prompt)))
    return designs
