"""Paired differences of rows over the images that both have, with Holm's correction over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.api import Metric
from layoutmark.compare.rows import CONFIDENCE_LEVEL, ResampleCache
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.layout import Sample
from layoutmark.metrics import SetMetric
from layoutmark.metrics.aggregation import missing_pixels_reason
from layoutmark.score import Score
from layoutmark.statistics import PairedDifference, holm, paired_mean_difference, paired_statistic_difference

Floats = npt.NDArray[np.float64]
NO_DIFFERENCE = {"difference": None, "low": None, "high": None, "p": None, "p_holm": None, "n": 0}


def paired_differences(
    evidence: Mapping[str, Sequence[Evidence]],
    outcomes: Mapping[str, Mapping[str, Sequence[SampleOutcome]]],
    metrics: Sequence[Metric],
    resamples: ResampleCache | None = None,
) -> list[dict[str, Any]]:
    """Differences a - b of all pairs of rows on all metrics, over the images that both have.

    Args:
        evidence: Images by row.
        outcomes: By row and metric name, one outcome per image.
        metrics: The metrics to compare on.
        resamples: Cache shared with other calls on the same evidence.

    Returns one entry per pair and metric: `a`, `b`, `metric`, `difference`, its interval `low` and `high`, `p`,
    `p_holm` (adjusted over the whole list) and the number of images `n`. An undefined difference is None.

    >>> from layoutmark.metrics import all_metrics
    >>> from layoutmark.metrics.examples import example_image
    >>> (metric,) = [m for m in all_metrics({"detector": "yolo"}) if m.info.name == "recall50"]
    >>> images = {
    ...     "a": [example_image(prompt=p, detections={"cat": (0, 0, 0.5, 0.5)}) for p in "pqrs"],
    ...     "b": [example_image(prompt=p, detections={} if p == "p" else {"cat": (0, 0, 0.5, 0.5)}) for p in "pqrs"],
    ... }
    >>> outcomes = {name: {"recall50": metric.outcomes(evidence)} for name, evidence in images.items()}
    >>> (pair,) = paired_differences(images, outcomes, [metric])
    >>> pair["difference"], round(pair["low"], 3), round(pair["high"], 3), round(pair["p"], 3), pair["n"]
    (0.25, -0.546, 1.046, 0.391, 4)
    """
    pairs: list[dict[str, Any]] = []
    resamples = resamples or ResampleCache()
    set_metrics = {m.info.name: m for m in metrics if isinstance(m, SetMetric)}
    for a, b in combinations(evidence, 2):
        shared = shared_images(evidence[a], evidence[b])
        for metric in metrics:
            name = metric.info.name
            if (set_metric := set_metrics.get(name)) is not None:
                shared_a, shared_b = [evidence[a][i] for i, _ in shared], [evidence[b][j] for _, j in shared]
                result = _set_difference(set_metric, shared_a, shared_b, resamples)
            else:
                result = _mean_difference(*scored_by_both(evidence[a], outcomes[a][name], outcomes[b][name], shared))
            pairs.append({"a": a, "b": b, "metric": name, **result})
    tested = [pair for pair in pairs if pair["p"] is not None]
    for pair, adjusted in zip(tested, holm([pair["p"] for pair in tested]), strict=True):
        pair["p_holm"] = adjusted
    return pairs


def shared_images(a: Sequence[Evidence], b: Sequence[Evidence]) -> list[tuple[int, int]]:
    """Positions in `a` and `b` of the images (same sample and seed) that have pixels in both.

    >>> from layoutmark.metrics.examples import example_image
    >>> one, two = example_image(prompt="one"), example_image(prompt="two")
    >>> shared_images([one, two], [two])
    [(1, 0)]
    """
    position_in_b = {(e.sample.id, e.seed): j for j, e in enumerate(b) if missing_pixels_reason(e) is None}
    return [
        (i, position_in_b[e.sample.id, e.seed])
        for i, e in enumerate(a)
        if missing_pixels_reason(e) is None and (e.sample.id, e.seed) in position_in_b
    ]


def scored_by_both(
    a: Sequence[Evidence],
    outcomes_a: Sequence[SampleOutcome],
    outcomes_b: Sequence[SampleOutcome],
    shared: Sequence[tuple[int, int]],
) -> tuple[Floats, Floats, list[Sample]]:
    """Values (n,) of two rows, and the samples, over the shared images that are scored in both.

    Args:
        a: Images of the first row.
        outcomes_a: One outcome per image of the first row.
        outcomes_b: One outcome per image of the second row.
        shared: The result of `shared_images`.

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image()
    >>> outcome_a, outcome_b = SampleOutcome("a cat", 0, Score(0.8)), SampleOutcome("a cat", 0, Score(0.5))
    >>> scored_by_both([image], [outcome_a], [outcome_b], [(0, 0)])[:2]
    (array([0.8]), array([0.5]))
    """
    scored = [
        (x.value, y.value, a[i].sample)
        for i, j in shared
        if isinstance(x := outcomes_a[i].outcome, Score) and isinstance(y := outcomes_b[j].outcome, Score)
    ]
    return np.array([x for x, _, _ in scored]), np.array([y for _, y, _ in scored]), [sample for *_, sample in scored]


def _mean_difference(a: Floats, b: Floats, samples: Sequence[Sample]) -> dict[str, Any]:
    result = paired_mean_difference(a, b, [s.prompt for s in samples], CONFIDENCE_LEVEL) if samples else None
    return NO_DIFFERENCE if result is None else _to_json(result, len(samples))


def _set_difference(
    metric: SetMetric, a: Sequence[Evidence], b: Sequence[Evidence], resamples: ResampleCache
) -> dict[str, Any]:
    value_a, deviations_a = resamples.value_and_deviations(metric, a)
    value_b, deviations_b = resamples.value_and_deviations(metric, b)
    if value_a is None or value_b is None or deviations_a is None or deviations_b is None:
        return NO_DIFFERENCE
    prompts = len({e.sample.prompt for e in a})
    result = paired_statistic_difference(
        value_a, value_b, deviations_a, deviations_b, prompts, CONFIDENCE_LEVEL, n=len(a)
    )
    return NO_DIFFERENCE if result is None else _to_json(result, len(a))


def _to_json(result: PairedDifference, n: int) -> dict[str, Any]:
    return {
        "difference": result.difference, "low": result.low, "high": result.high, "p": result.p, "p_holm": None, "n": n,
    }  # fmt: skip
