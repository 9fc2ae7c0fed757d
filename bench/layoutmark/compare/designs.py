"""How large a study must be to find a given difference, planned from a pilot run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from layoutmark.api import Metric
from layoutmark.compare.pairs import scored_by_both, shared_images
from layoutmark.compare.rows import CONFIDENCE_LEVEL, ResampleCache
from layoutmark.compare.spread import set_metric_spread
from layoutmark.compare.stored_runs import ComparableRows, find_metric
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import SampleOutcome
from layoutmark.metrics import SetMetric, summarise_outcomes
from layoutmark.statistics import estimate_spread, needed_clusters, smallest_designs

DEFAULT_POWER = 0.8


def design_study(
    rows: ComparableRows, metric_name: str, detect: float, power: float = DEFAULT_POWER, comparisons: int = 1
) -> dict[str, Any]:
    """For each pair of the pilot's rows, the fewest prompts with 1, 2, 4 and 8 seeds that detect a difference.

    The standard errors are those of a comparison of the same rows, including AP, which is not a mean over images
    (`set_metric_spread`).

    Args:
        rows: The pilot, at least two rows.
        metric_name: Name of the metric.
        detect: The smallest difference that matters, in the metric's unit.
        power: Probability of detecting it, in (0, 1).
        comparisons: Number of differences under Holm's correction; the hardest of them is planned for.

    Returns `metric`, `unit`, `detect`, `level`, `power` and `pairs`; each pair has its `designs`, or the `reason` why
    there are none. Raises LayoutmarkError for a metric that the pilot lacks, for less than one comparison, for a
    difference wider than the metric's range, and under the conditions of `smallest_designs`.

    >>> from layoutmark.metrics import all_metrics
    >>> from layoutmark.metrics.examples import example_image
    >>> (metric,) = [m for m in all_metrics({"detector": "yolo"}) if m.info.name == "recall50"]
    >>> images = {
    ...     "a": [example_image(prompt=p, detections={"cat": (0, 0, 0.5, 0.5)}) for p in "pqrs"],
    ...     "b": [example_image(prompt=p, detections={} if p == "p" else {"cat": (0, 0, 0.5, 0.5)}) for p in "pqrs"],
    ... }
    >>> outcomes = {name: {"recall50": metric.outcomes(evidence)} for name, evidence in images.items()}
    >>> design_study(ComparableRows("", [metric], images, outcomes), "recall50", 0.25)["pairs"][0]["designs"]
    [{'seeds': 1, 'prompts': 34, 'images': 34}]
    """
    metric = find_metric(rows.metrics, metric_name)
    if comparisons < 1:
        raise LayoutmarkError(
            "comparisons", found=str(comparisons), expected="1 or more", do="Count the differences that are tested."
        )
    low, high = metric.info.low, metric.info.high
    if detect > high - low:
        raise LayoutmarkError(
            "margin", found=repr(detect),
            expected=f"at most {high - low:g}: {metric_name} lies between {low:g} and {high:g}",
            do="Write two points out of a hundred as 0.02.",
        )  # fmt: skip
    level = 1 - (1 - CONFIDENCE_LEVEL) / comparisons
    # Reject invalid arguments before looking at the pilot, which may have no result.
    needed_clusters(0.0, detect, level, power)
    resamples = ResampleCache()
    pairs = []
    for a, b in combinations(rows.evidence, 2):
        shared = shared_images(rows.evidence[a], rows.evidence[b])
        outcomes = rows.outcomes[a][metric_name], rows.outcomes[b][metric_name]
        x, y, samples = scored_by_both(rows.evidence[a], *outcomes, shared)
        spread = None
        if isinstance(metric, SetMetric):
            evidence_a, evidence_b = [rows.evidence[a][i] for i, _ in shared], [rows.evidence[b][j] for _, j in shared]
            samples = [e.sample for e in evidence_a]
            spread = set_metric_spread(metric, evidence_a, evidence_b, resamples=resamples)
        elif len({s.prompt for s in samples}) > 1:
            spread = estimate_spread(x - y, [s.prompt for s in samples], [s.id for s in samples])
        designs = smallest_designs(spread, detect, level=level, power=power) if spread else []
        pairs.append({
            "a": a, "b": b, "n": len(samples), "prompts": len({s.prompt for s in samples}),
            "between_prompts": None if spread is None else spread.between_prompts,
            "between_seeds": None if spread is None else spread.between_seeds,
            "designs": [asdict(d) for d in designs],
            "reason": "" if spread else _reason_for_no_spread(metric, rows, (a, b), outcomes),
        })  # fmt: skip
    return {
        "metric": metric_name, "unit": metric.info.unit, "detect": detect, "level": level, "power": power,
        "pairs": pairs,
    }  # fmt: skip


def _reason_for_no_spread(
    metric: Metric, rows: ComparableRows, names: Sequence[str], outcomes: Sequence[Sequence[SampleOutcome]]
) -> str:
    """Either the reasons why a row has no value, or that the rows share too few prompts."""
    summaries = [
        metric.summarise(rows.evidence[name]) if isinstance(metric, SetMetric) else summarise_outcomes(row_outcomes)
        for name, row_outcomes in zip(names, outcomes, strict=True)
    ]
    reasons = dict.fromkeys(reason for summary in summaries if summary.value is None for reason in summary.unscored)
    return ("not scored: " + ", ".join(reasons)) if reasons else "fewer than two prompts in common"
