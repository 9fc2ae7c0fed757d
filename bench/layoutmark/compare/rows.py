"""One cell of the table: a value with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from layoutmark.door import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics import SetMetric, summarise, summary
from layoutmark.score import Direction, Score
from layoutmark.statistics import bootstrap_interval, cluster_weights, mean_interval

DRAWS = 1000
SEED = 20_240_517
LEVEL = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class Resamples:
    """Values of metrics of sets under resampling, each made once: tables, pairs and ranks read the same draws."""

    made: dict[tuple[str, tuple[Evidence, ...]], tuple[float | None, Any]] = field(default_factory=dict)

    def of(self, metric: SetMetric, evidence: Sequence[Evidence]) -> tuple[float | None, Any]:
        """(value, draws (DRAWS,)) of these images; draws are None where some resample has none."""
        key = metric.info.name, tuple(evidence)
        if key not in self.made:
            self.made[key] = metric.summarise(evidence).value, resampled_values(metric, evidence, DRAWS)
        return self.made[key]


def result_row(
    name: str,
    metric: Metric,
    evidence: Sequence[Evidence],
    outcomes: Sequence[SampleOutcome],
    resamples: Resamples | None = None,
) -> dict[str, Any]:
    """One cell of the table: value, interval (clustered by prompt), n of N, what was not scored and why."""
    found = summarise(metric, evidence) if isinstance(metric, SetMetric) else summary(outcomes)
    low = high = None
    if found.value is not None:
        if isinstance(metric, SetMetric):
            _, draws = (resamples or Resamples()).of(metric, evidence)
            interval = bootstrap_interval(found.value, draws, LEVEL) if draws is not None else None
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
    return {
        "method": name, "metric": info.name, "variant": info.variant, "value": found.value, "low": low, "high": high,
        "n": found.n, "of": found.of, "unit": info.unit, "higher_is_better": info.direction is Direction.HIGHER,
        "unscored": dict(found.unscored),
    }  # fmt: skip


def resampled_values(metric: SetMetric, evidence: Sequence[Evidence], draws: int) -> Any:
    """The metric under resampled prompts; None where some resample has no value or there is one prompt only."""
    clusters = [e.sample.prompt for e in evidence]
    if len(set(clusters)) < 2:
        return None
    values = metric.resampled(evidence, _weights(tuple(clusters), draws))
    return None if np.isnan(values).any() else values


@lru_cache(maxsize=1)
def _weights(clusters: tuple[str, ...], draws: int) -> Any:
    """Rows on the same images share one drawing of weights; one is kept, for it can be hundreds of megabytes."""
    return cluster_weights(clusters, draws, SEED)
