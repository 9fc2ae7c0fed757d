"""The gain of a candidate on one metric: paired with its baseline, with a standard error clustered by prompt.

Where both sides have the same seeds they are paired image by image.  Where one has more (only it could be given fresh
seeds) they are paired sample by sample, each sample by the mean over its seeds.  A metric of a set (AP) is taken over
all images of a side in the first case, and as the mean over its seeds' sets in the second, because AP depends on how
many images it is of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from layoutmark.door import Metric
from layoutmark.evidence import Evidence
from layoutmark.gate.noninferiority import Gain
from layoutmark.gate.sides import Row
from layoutmark.metrics import SetMetric
from layoutmark.score import Direction, Score
from layoutmark.statistics import cluster_weights, split_spread
from layoutmark.statistics.clusters import clustered_mean

DRAWS = 1000
SEED = 20_261_124
PILOT = 500
"""Most samples that the spread of a metric of sets is estimated from; each of their images is left out once."""
Floats = npt.NDArray[np.float64]
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
    pilot = set(sorted(set(samples))[:: -(-len(set(samples)) // PILOT)])
    out = [k for k, sample in enumerate(samples) if sample in pilot]
    weights = np.ones((1 + len(out), len(shared)), dtype=np.int8)
    weights[np.arange(1, 1 + len(out)), out] = 0
    whole, *without = metric.resampled([e for e, _ in a], weights) - metric.resampled([e for e, _ in b], weights)
    # Tukey's pseudo-values: what each image that is left out had contributed.
    values = len(shared) * whole - (len(shared) - 1) * np.array(without)
    return split_spread(values, [samples[k] for k in out]).seeds if np.isfinite(values).all() else None


def _of_sets(
    metric: SetMetric, sides: Sequence[Sequence[Sequence[tuple[Evidence, float]]]], n: int, whole: bool
) -> Paired | None:
    prompts = sorted({images[0][0].sample.prompt for images in sides[0]})
    column = {prompt: k for k, prompt in enumerate(prompts)}
    # One table of weights for both sides and all sets: that is what pairs the draws.
    weights = cluster_weights(prompts, DRAWS, SEED)
    values: list[float] = []
    draws: list[Floats] = []
    for side in sides:
        images = [e for listed in side for e, _ in listed]
        seeds = [None] if whole else sorted({e.seed for e in images})
        sets = [[e for e in images if seed is None or e.seed == seed] for seed in seeds]
        found = [value for part in sets if (value := metric.summarise(part).value) is not None]
        if len(found) < len(sets):
            return None
        values.append(float(np.mean(found)))
        draws.append(
            np.mean([metric.resampled(p, weights[:, [column[e.sample.prompt] for e in p]]) for p in sets], axis=0)
        )
    difference = draws[0] - draws[1]
    count = len(prompts)
    if count < 2 or not np.isfinite(difference).all():
        return Paired(values[0], values[1], n, None)
    # Resampled prompts vary by (count - 1) / count too little.
    error = float(np.std(difference, ddof=1) * np.sqrt(count / (count - 1)))
    error = 0.0 if error <= 8 * np.finfo(np.float64).eps else error
    return Paired(values[0], values[1], n, Gain(turned(metric) * (values[0] - values[1]), error, count))
