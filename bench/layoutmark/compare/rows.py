"""One cell of the table: a value with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.metrics import SetMetric, Summary, summarise, summary
from layoutmark.metrics.aggregation import without_pixels
from layoutmark.score import Direction, Score, Status
from layoutmark.statistics import half_deviations, half_sample_interval, half_weights, mean_interval

DRAWS = 1000
"""Random halves of the prompts; and resamples of them where methods are ranked by means."""
SEED = 20_240_517
LEVEL = 0.95
NOTHING = Detections(np.empty((0, 4)), np.empty(0), ())


@dataclass(frozen=True, slots=True, eq=False)
class Resamples:
    """Values of metrics of sets and how far they may be off, each made once: tables, pairs and ranks read the same."""

    made: dict[tuple[str, tuple[Evidence, ...]], tuple[float | None, Any]] = field(default_factory=dict)

    def of(self, metric: SetMetric, evidence: Sequence[Evidence]) -> tuple[float | None, Any]:
        """(value, deviations (DRAWS,)) of these images; None where some half-sample has no value."""
        key = metric.info.name, tuple(evidence)
        if key not in self.made:
            self.made[key] = metric.summarise(evidence).value, deviations(metric, evidence, DRAWS)
        return self.made[key]


def result_row(
    name: str,
    metric: Metric,
    evidence: Sequence[Evidence],
    outcomes: Sequence[SampleOutcome],
    resamples: Resamples | None = None,
) -> dict[str, Any]:
    """One cell of the table: value, interval (clustered by prompt), n of N, what was not scored and why, cautions."""
    found = summarise(metric, evidence) if isinstance(metric, SetMetric) else summary(outcomes)
    low = high = None
    if found.value is not None:
        if isinstance(metric, SetMetric):
            _, off = (resamples or Resamples()).of(metric, evidence)
            prompts = len({e.sample.prompt for e in evidence})
            interval = half_sample_interval(found.value, off, prompts, LEVEL) if off is not None else None
        else:
            scored = [
                (o.outcome.value, e.sample.prompt)
                for o, e in zip(outcomes, evidence, strict=True)
                if isinstance(o.outcome, Score)
            ]
            interval = mean_interval(np.array([v for v, _ in scored]), [p for _, p in scored], LEVEL)
        if interval is not None:
            # An interval may not leave the range that the metric can take.
            low, high = max(interval.low, metric.info.low), min(interval.high, metric.info.high)
    info = metric.info
    worst = _with_the_worst(metric, evidence, outcomes, found)
    return {
        "method": name, "metric": info.name, "variant": info.variant, "value": found.value, "low": low, "high": high,
        "worst": worst,
        "n": found.n, "of": found.of, "unit": info.unit, "higher_is_better": info.direction is Direction.HIGHER,
        "unscored": dict(found.unscored), "caution": found.caution,
    }  # fmt: skip


def by_count(metric: Metric, evidence: Sequence[Evidence], outcomes: Sequence[SampleOutcome]) -> list[dict[str, Any]]:
    """Cells of `result_row` for each number of instances that occurs, in rising order, as COCO-MIG reports success."""
    places: dict[int, list[int]] = {}
    for k, e in enumerate(evidence):
        places.setdefault(len(e.sample.layout.instances), []).append(k)
    found = []
    for count, at in sorted(places.items()):
        row = result_row("", metric, [evidence[k] for k in at], [outcomes[k] for k in at])
        found.append({"instances": count, **{key: row[key] for key in ("value", "low", "high", "worst", "n", "of")}})
    return found


def _with_the_worst(
    metric: Metric, evidence: Sequence[Evidence], outcomes: Sequence[SampleOutcome], found: Summary
) -> float | None:
    """The value if every image without pixels were as bad as can be: the metric's bound, or nothing detected for a set.

    The value itself where all images have pixels; None where it is not known what the worst would be.
    """
    lost = [k for k, e in enumerate(evidence) if without_pixels(e) is not None]
    if not lost:
        return found.value
    if isinstance(metric, SetMetric):
        blank = list(evidence)
        for k in lost:
            blank[k] = Evidence(evidence[k].sample, evidence[k].seed, Status.OK, "", NOTHING)
        worst = metric.summarise(blank)
        return worst.value if worst.n == found.n + len(lost) else None
    bound = metric.info.low if metric.info.direction is Direction.HIGHER else metric.info.high
    values = [o.outcome.value for o in outcomes if isinstance(o.outcome, Score)]
    return math.fsum([*values, *[bound] * len(lost)]) / (len(values) + len(lost))


def deviations(metric: SetMetric, evidence: Sequence[Evidence], draws: int, prompts: Sequence[str] = ()) -> Any:
    """How far the metric may be off, by halves of the prompts; None where a half has no value, or with one prompt.

    `prompts`, where given, are halved in place of those of `evidence`: of several sets the halves are then the same.
    """
    clusters = tuple(e.sample.prompt for e in evidence)
    halved = tuple(sorted(set(prompts or clusters)))
    if len(halved) < 2:
        return None
    values = metric.resampled(evidence, _weights(clusters, halved, draws))
    return None if np.isnan(values).any() else half_deviations(values, len(halved))


@lru_cache(maxsize=1)
def _weights(clusters: tuple[str, ...], prompts: tuple[str, ...], draws: int) -> Any:
    """Rows on the same images share one drawing of weights; one is kept, for it can be hundreds of megabytes."""
    column = {prompt: k for k, prompt in enumerate(prompts)}
    return half_weights(prompts, draws, SEED)[:, [column[prompt] for prompt in clusters]]
