"""The gain of a candidate over its baseline on one metric, paired, with a standard error clustered by prompt.

With the same seeds on both sides, images are paired one by one.  If one side has more seeds (only that side could be
given fresh ones), samples are paired, each represented by its mean over seeds.  A metric of a set of images (AP) is
computed over all images of a side in the first case, and as the mean over one set per seed in the second, because AP
depends on the number of images; its standard error is the one that comparisons use, from halves of the prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from layoutmark.api import Metric
from layoutmark.compare.rows import RESAMPLE_DRAWS, resampled_deviations
from layoutmark.compare.spread import set_metric_spread
from layoutmark.evidence import Evidence
from layoutmark.gate.noninferiority import Gain
from layoutmark.gate.sides import ScoredRow
from layoutmark.metrics import SetMetric
from layoutmark.score import Direction, Score
from layoutmark.statistics import estimate_spread, paired_statistic_difference
from layoutmark.statistics.clusters import clustered_mean

PairKey = tuple[str, int] | tuple[str]
"""(sample, seed) if images are paired, (sample,) if samples are."""
ScoredImages = dict[PairKey, list[tuple[Evidence, float]]]


@dataclass(frozen=True, slots=True)
class PairedValues:
    """Value of each side over the images both have, the candidate's number of images `n`, and the gain.

    The gain is None if there are too few prompts for a standard error.
    """

    candidate: float
    baseline: float
    n: int
    gain: Gain | None


def direction_sign(metric: Metric) -> int:
    """Return 1 if higher is better, -1 if lower is."""
    return 1 if metric.info.direction is Direction.HIGHER else -1


def paired_values(metric: Metric, candidate: ScoredRow, baseline: ScoredRow) -> PairedValues | None:
    """Return both values and the gain on one metric, or None if no image is scored on both sides."""
    by_image = candidate.seeds == baseline.seeds
    candidate_images = scored_images(metric, candidate, by_image)
    baseline_images = scored_images(metric, baseline, by_image)
    shared_keys = sorted(candidate_images.keys() & baseline_images.keys())
    if not shared_keys:
        return None
    sides = [[images[key] for key in shared_keys] for images in (candidate_images, baseline_images)]
    n = sum(map(len, sides[0]))
    if isinstance(metric, SetMetric):
        return _paired_set_values(metric, sides, n, by_image)
    a, b = (np.array([np.mean([value for _, value in images]) for images in side]) for side in sides)
    prompts = [images[0][0].sample.prompt for images in sides[0]]
    mean = clustered_mean(direction_sign(metric) * (a - b), prompts, float(np.abs([a, b]).max()))
    gain = None if mean is None else Gain(mean.mean, mean.standard_error, mean.clusters)
    return PairedValues(float(a.mean()), float(b.mean()), n, gain)


def scored_images(metric: Metric, row: ScoredRow, by_image: bool) -> ScoredImages:
    """Return the images a metric can use, by (sample, seed) or by sample; a set metric uses all that have detections.

    Empty if the row does not have the metric: leaderboard entries keep the headline metrics only.
    """
    images: ScoredImages = {}
    is_set_metric = isinstance(metric, SetMetric)
    outcomes = row.outcomes.get(metric.info.name)
    if outcomes is None:
        return images
    for evidence, sample_outcome in zip(row.evidence, outcomes, strict=True):
        value = sample_outcome.outcome.value if isinstance(sample_outcome.outcome, Score) else None
        if evidence.detections is not None if is_set_metric else value is not None:
            key: PairKey = (evidence.sample.id, evidence.seed) if by_image else (evidence.sample.id,)
            images.setdefault(key, []).append((evidence, value or 0.0))
    return images


def seed_deviation(metric: Metric, candidate: ScoredRow, baseline: ScoredRow) -> float | None:
    """Return the standard deviation of an image's gain between seeds of a sample; None if no sample has two seeds."""
    candidate_images, baseline_images = (scored_images(metric, row, True) for row in (candidate, baseline))
    shared_keys = sorted(candidate_images.keys() & baseline_images.keys())
    samples = [key[0] for key in shared_keys]
    if not len(shared_keys) > len(set(samples)) > 1:
        return None
    a, b = ([images[key][0] for key in shared_keys] for images in (candidate_images, baseline_images))
    if not isinstance(metric, SetMetric):
        return estimate_spread(np.array([v for _, v in a]) - np.array([v for _, v in b]), samples).between_seeds
    spread = set_metric_spread(metric, [e for e, _ in a], [e for e, _ in b], samples)
    return None if spread is None else spread.between_seeds


def _paired_set_values(
    metric: SetMetric, sides: Sequence[Sequence[Sequence[tuple[Evidence, float]]]], n: int, by_image: bool
) -> PairedValues | None:
    prompts = sorted({images[0][0].sample.prompt for images in sides[0]})
    side_values: list[float] = []
    deviations: list[Any] = []
    for side in sides:
        all_images = [e for images in side for e, _ in images]
        seeds = [None] if by_image else sorted({e.seed for e in all_images})
        image_sets = [[e for e in all_images if seed is None or e.seed == seed] for seed in seeds]
        set_values = [value for images in image_sets if (value := metric.summarise(images).value) is not None]
        if len(set_values) < len(image_sets):
            return None
        side_values.append(float(np.mean(set_values)))
        # Both sides and all sets use the same halves of the prompts: that is what pairs them.
        set_deviations = [resampled_deviations(metric, images, RESAMPLE_DRAWS, prompts) for images in image_sets]
        deviations.append(None if any(d is None for d in set_deviations) else np.mean(set_deviations, axis=0))
    if deviations[0] is None or deviations[1] is None:
        return PairedValues(side_values[0], side_values[1], n, None)
    pair = paired_statistic_difference(
        side_values[0], side_values[1], deviations[0], deviations[1], len(prompts)
    )  # fmt: skip
    gain = None if pair is None else Gain(direction_sign(metric) * pair.difference, pair.standard_error, pair.clusters)
    return PairedValues(side_values[0], side_values[1], n, gain)
