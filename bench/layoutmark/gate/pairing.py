"""The gain of a candidate on one metric: paired with its baseline, with a standard error clustered by prompt.

Where both sides have the same seeds they are paired image by image.  Where one has more (only it could be given fresh
seeds) they are paired sample by sample, each sample by the mean over its seeds.  A metric of a set (AP) is taken over
all images of a side in the first case, and as the mean over its seeds' sets in the second, because AP depends on how
many images it is of; its standard error is that of comparisons, by halves of the prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layoutmark.api import Metric
from layoutmark.compare.rows import DRAWS, deviations
from layoutmark.compare.spread import set_spread
from layoutmark.evidence import Evidence
from layoutmark.gate.noninferiority import Gain
from layoutmark.gate.sides import Row
from layoutmark.metrics import SetMetric
from layoutmark.score import Direction, Score
from layoutmark.statistics import paired_statistic_difference, split_spread
from layoutmark.statistics.clusters import clustered_mean

Key = tuple[str, int] | tuple[str]
Scored = dict[Key, list[tuple[Evidence, float]]]


@dataclass(frozen=True, slots=True)
class Paired:
    """Values of both sides over what both have, `n` images of the candidate; the gain if prompts suffice."""

    candidate: float
    baseline: float
    n: int
    gain: Gain | None


def turned(metric: Metric) -> int:
    """1 where more is better, -1 where less is."""
    return 1 if metric.info.direction is Direction.HIGHER else -1


def paired(metric: Metric, candidate: Row, baseline: Row) -> Paired | None:
    """The gain on one metric, or None where the two share nothing that is scored."""
    by_image = candidate.seeds == baseline.seeds
    mine, theirs = scored(metric, candidate, by_image), scored(metric, baseline, by_image)
    shared = sorted(mine.keys() & theirs.keys())
    if not shared:
        return None
    sides = [[side[key] for key in shared] for side in (mine, theirs)]
    n = sum(map(len, sides[0]))
    if isinstance(metric, SetMetric):
        return _of_sets(metric, sides, n, by_image)
    a, b = (np.array([np.mean([value for _, value in images]) for images in side]) for side in sides)
    prompts = [images[0][0].sample.prompt for images in sides[0]]
    mean = clustered_mean(turned(metric) * (a - b), prompts, float(np.abs([a, b]).max()))
    gain = None if mean is None else Gain(mean.mean, mean.standard_error, mean.clusters)
    return Paired(float(a.mean()), float(b.mean()), n, gain)


def scored(metric: Metric, row: Row, by_image: bool) -> Scored:
    """Images that the metric can use, by (sample, seed) or by sample; of a metric of sets all that have detections.

    Empty for a metric that the row does not keep, as an entry of a leaderboard keeps the headline metrics only.
    """
    found: Scored = {}
    of_sets = isinstance(metric, SetMetric)
    outcomes = row.outcomes.get(metric.info.name)
    if outcomes is None:
        return found
    for evidence, said in zip(row.evidence, outcomes, strict=True):
        value = said.outcome.value if isinstance(said.outcome, Score) else None
        if evidence.detections is not None if of_sets else value is not None:
            key: Key = (evidence.sample.id, evidence.seed) if by_image else (evidence.sample.id,)
            found.setdefault(key, []).append((evidence, value or 0.0))
    return found


def by_seed(metric: Metric, candidate: Row, baseline: Row) -> float | None:
    """Standard deviation, between seeds of one sample, of the gain of an image; None where no sample has two."""
    mine, theirs = scored(metric, candidate, True), scored(metric, baseline, True)
    shared = sorted(mine.keys() & theirs.keys())
    samples = [key[0] for key in shared]
    if not len(shared) > len(set(samples)) > 1:
        return None
    a, b = ([side[key][0] for key in shared] for side in (mine, theirs))
    if not isinstance(metric, SetMetric):
        return split_spread(np.array([v for _, v in a]) - np.array([v for _, v in b]), samples).seeds
    spread = set_spread(metric, [e for e, _ in a], [e for e, _ in b], samples)
    return None if spread is None else spread.seeds


def _of_sets(
    metric: SetMetric, sides: Sequence[Sequence[Sequence[tuple[Evidence, float]]]], n: int, whole: bool
) -> Paired | None:
    prompts = sorted({images[0][0].sample.prompt for images in sides[0]})
    values: list[float] = []
    off: list[Any] = []
    for side in sides:
        images = [e for listed in side for e, _ in listed]
        seeds = [None] if whole else sorted({e.seed for e in images})
        sets = [[e for e in images if seed is None or e.seed == seed] for seed in seeds]
        found = [value for part in sets if (value := metric.summarise(part).value) is not None]
        if len(found) < len(sets):
            return None
        values.append(float(np.mean(found)))
        # The same halves of the prompts for both sides and all sets: that is what pairs them.
        halves = [deviations(metric, part, DRAWS, prompts) for part in sets]
        off.append(None if any(h is None for h in halves) else np.mean(halves, axis=0))
    if off[0] is None or off[1] is None:
        return Paired(values[0], values[1], n, None)
    pair = paired_statistic_difference(values[0], values[1], off[0], off[1], len(prompts))
    gain = None if pair is None else Gain(turned(metric) * pair.difference, pair.error, pair.clusters)
    return Paired(values[0], values[1], n, gain)
