"""Cells of the results table: a value with its interval, and how it was obtained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.metrics import SetMetric, Summary, summarise_metric, summarise_outcomes
from layoutmark.metrics.aggregation import missing_pixels_reason
from layoutmark.score import Direction, Score, Status
from layoutmark.statistics import (
    Interval,
    half_sample_deviations,
    half_sample_interval,
    half_sample_weights,
    mean_interval,
)

RESAMPLE_DRAWS = 1000
"""Number of half-samples of the prompts, and of bootstrap resamples where methods are ranked by means."""
RESAMPLE_SEED = 20_240_517
CONFIDENCE_LEVEL = 0.95
NO_DETECTIONS = Detections(np.empty((0, 4)), np.empty(0), ())


@dataclass(frozen=True, slots=True, eq=False)
class ResampleCache:
    """Values of set metrics and their sampling deviations, computed once and shared by tables, pairs and ranks."""

    cache: dict[tuple[str, tuple[Evidence, ...]], tuple[float | None, Any]] = field(default_factory=dict)

    def value_and_deviations(self, metric: SetMetric, evidence: Sequence[Evidence]) -> tuple[float | None, Any]:
        """The value on these images and its deviations (RESAMPLE_DRAWS,); either is None if undefined."""
        key = metric.info.name, tuple(evidence)
        if key not in self.cache:
            value = metric.summarise(evidence).value
            self.cache[key] = value, resampled_deviations(metric, evidence, RESAMPLE_DRAWS)
        return self.cache[key]


def result_row(
    name: str,
    metric: Metric,
    evidence: Sequence[Evidence],
    outcomes: Sequence[SampleOutcome],
    resamples: ResampleCache | None = None,
) -> dict[str, Any]:
    """One cell of the results table.

    Args:
        name: Name of the row, usually a method.
        metric: The metric of the column.
        evidence: The row's images.
        outcomes: The metric's outcomes, one per image.
        resamples: Cache shared with other calls on the same evidence.

    Returns `method`, `metric`, `variant`, `value`, its interval `low` and `high` (clustered by prompt, clipped to the
    metric's range), `worst` (the value if lost images had scored worst), `n` of `of` images scored, `unit`,
    `higher_is_better`, `unscored` (count by reason) and `caution`.

    >>> from layoutmark.metrics import all_metrics
    >>> from layoutmark.metrics.examples import example_image
    >>> (metric,) = [m for m in all_metrics({"detector": "yolo"}) if m.info.name == "miou"]
    >>> images = [example_image(prompt=p, detections={"cat": (0.0, 0.0, 0.5, h)}) for p, h in (("p", 0.5), ("q", 0.4))]
    >>> row = result_row("ours", metric, images, metric.outcomes(images))
    >>> row["value"], row["low"], row["high"], row["n"]
    (0.9, 0.0, 1.0, 2)
    """
    summary = summarise_metric(metric, evidence) if isinstance(metric, SetMetric) else summarise_outcomes(outcomes)
    interval = None if summary.value is None else _interval(metric, summary.value, evidence, outcomes, resamples)
    low = high = None
    if interval is not None:
        # An interval may not leave the range of the metric.
        low, high = max(interval.low, metric.info.low), min(interval.high, metric.info.high)
    info = metric.info
    return {
        "method": name, "metric": info.name, "variant": info.variant, "value": summary.value, "low": low, "high": high,
        "worst": _worst_case_value(metric, evidence, outcomes, summary),
        "n": summary.n, "of": summary.requested, "unit": info.unit,
        "higher_is_better": info.direction is Direction.HIGHER,
        "unscored": dict(summary.unscored), "caution": summary.caution,
    }  # fmt: skip


def _interval(
    metric: Metric, value: float, evidence: Sequence[Evidence], outcomes: Sequence[SampleOutcome],
    resamples: ResampleCache | None,
) -> Interval | None:  # fmt: skip
    if isinstance(metric, SetMetric):
        _, deviations = (resamples or ResampleCache()).value_and_deviations(metric, evidence)
        prompts = len({e.sample.prompt for e in evidence})
        return half_sample_interval(value, deviations, prompts, CONFIDENCE_LEVEL) if deviations is not None else None
    scored = [
        (o.outcome.value, e.sample.prompt)
        for o, e in zip(outcomes, evidence, strict=True)
        if isinstance(o.outcome, Score)
    ]
    return mean_interval(np.array([v for v, _ in scored]), [p for _, p in scored], CONFIDENCE_LEVEL)


def cells_by_instance_count(
    metric: Metric, evidence: Sequence[Evidence], outcomes: Sequence[SampleOutcome]
) -> list[dict[str, Any]]:
    """Cells of `result_row` for each number of instances per image, in rising order, as COCO-MIG reports success.

    Args:
        metric: The metric of the cells.
        evidence: The images of one row.
        outcomes: The metric's outcomes, one per image.

    >>> from layoutmark.metrics import all_metrics
    >>> from layoutmark.metrics.examples import example_image
    >>> (metric,) = [m for m in all_metrics({"detector": "yolo"}) if m.info.name == "success_rate"]
    >>> image = example_image(detections={"cat": (0.0, 0.0, 0.5, 0.5)})
    >>> cells = cells_by_instance_count(metric, [image], metric.outcomes([image]))
    >>> [(cell["instances"], cell["value"]) for cell in cells]
    [(1, 1.0)]
    """
    positions_by_count: dict[int, list[int]] = {}
    for k, e in enumerate(evidence):
        positions_by_count.setdefault(len(e.sample.layout.instances), []).append(k)
    cells = []
    for count, positions in sorted(positions_by_count.items()):
        row = result_row("", metric, [evidence[k] for k in positions], [outcomes[k] for k in positions])
        cells.append({"instances": count, **{key: row[key] for key in ("value", "low", "high", "worst", "n", "of")}})
    return cells


def _worst_case_value(
    metric: Metric, evidence: Sequence[Evidence], outcomes: Sequence[SampleOutcome], summary: Summary
) -> float | None:
    """The value if images without pixels had scored worst: the metric's bound, or no detections for a set metric.

    The value itself if all images have pixels; None if the worst case is unknown.
    """
    lost = [k for k, e in enumerate(evidence) if missing_pixels_reason(e) is not None]
    if not lost:
        return summary.value
    if isinstance(metric, SetMetric):
        with_blanks = list(evidence)
        for k in lost:
            with_blanks[k] = Evidence(evidence[k].sample, evidence[k].seed, Status.OK, "", NO_DETECTIONS)
        worst_case = metric.summarise(with_blanks)
        return worst_case.value if worst_case.n == summary.n + len(lost) else None
    worst = metric.info.low if metric.info.direction is Direction.HIGHER else metric.info.high
    values = [o.outcome.value for o in outcomes if isinstance(o.outcome, Score)]
    return math.fsum([*values, *[worst] * len(lost)]) / (len(values) + len(lost))


def resampled_deviations(
    metric: SetMetric, evidence: Sequence[Evidence], draws: int, prompts: Sequence[str] = ()
) -> Any:
    """Sampling deviations of the metric, shape (draws,), from random halves of the prompts (`half_sample_deviations`).

    None with fewer than two prompts, or if the metric has no value on some half.

    Args:
        metric: The metric.
        evidence: The images.
        draws: Number of halves, even.
        prompts: The prompts to halve instead of those of `evidence`, so that several sets share the same halves.

    >>> from layoutmark.metrics import all_metrics
    >>> from layoutmark.metrics.examples import example_image
    >>> images = [example_image(prompt=p, detections={"cat": (0, 0, 0.5, h)}) for p, h in (("p", 0.5), ("q", 0.1))]
    >>> resampled_deviations(all_metrics({"detector": "yolo"})[0], images, draws=4)
    array([-0.5,  0.5,  0.5, -0.5])
    """
    clusters = tuple(e.sample.prompt for e in evidence)
    halved_prompts = tuple(sorted(set(prompts or clusters)))
    if len(halved_prompts) < 2:
        return None
    values = metric.resampled_values(evidence, _half_weights(clusters, halved_prompts, draws))
    return None if np.isnan(values).any() else half_sample_deviations(values, len(halved_prompts))


@lru_cache(maxsize=1)
def _half_weights(clusters: tuple[str, ...], prompts: tuple[str, ...], draws: int) -> Any:
    """Weights (draws, images) shared by rows on the same images; only one is cached, as it may take hundreds of MB."""
    column = {prompt: k for k, prompt in enumerate(prompts)}
    return half_sample_weights(prompts, draws, RESAMPLE_SEED)[:, [column[prompt] for prompt in clusters]]
