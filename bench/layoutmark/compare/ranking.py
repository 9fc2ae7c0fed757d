"""Which method is ahead, and how certain that is: tie groups, rank intervals, probability of being best, Pareto set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from layoutmark.api import Metric
from layoutmark.compare.rows import CONFIDENCE_LEVEL, RESAMPLE_DRAWS, RESAMPLE_SEED, ResampleCache
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics import SetMetric
from layoutmark.score import SCORED_STATUSES, Direction, Score, Status
from layoutmark.statistics import best_probabilities, bootstrap_weights, rank_intervals, tie_groups

LOST_STATUSES = tuple(str(status) for status in Status if status not in SCORED_STATUSES)


def incomplete_methods(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Methods with images that have no pixels, each with the count of such images by status.

    Such methods are not ranked: a method that leaves out the difficult images must not look better for it.

    Args:
        rows: Cells of `result_row`.

    >>> incomplete_methods([{"method": "a", "unscored": {"failed": 2}}, {"method": "b", "unscored": {}}])
    {'a': '2 failed'}
    """
    incomplete = {}
    for row in rows:
        lost = {status: n for status in LOST_STATUSES if (n := (row.get("unscored") or {}).get(status))}
        if lost:
            incomplete[row["method"]] = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in lost.items())
    return incomplete


def tied_methods(
    rows: Sequence[Mapping[str, Any]],
    pairs: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
    metrics: Sequence[Metric],
) -> dict[str, list[list[str]]]:
    """Per metric, the methods best first, in groups that the data cannot tell apart (Holm-adjusted p at least 0.05).

    Methods in `incomplete_methods` are left out.

    Args:
        rows: Cells of `result_row`.
        pairs: The result of `paired_differences`.
        methods: The methods to rank.
        metrics: The metrics to rank by.

    >>> from layoutmark.metrics import all_metrics
    >>> (metric,) = [m for m in all_metrics({"detector": "yolo"}) if m.info.name == "miou"]
    >>> rows = [{"method": m, "metric": "miou", "value": v} for m, v in {"a": 0.4, "b": 0.6, "c": 0.5}.items()]
    >>> pairs = [{"a": "a", "b": "b", "metric": "miou", "p_holm": 0.01}]
    >>> tied_methods(rows, pairs, ["a", "b", "c"], [metric])
    {'miou': [['b', 'c'], ['a']]}
    """
    ties, incomplete = {}, incomplete_methods(rows)
    for metric in metrics:
        name = metric.info.name
        values = {
            r["method"]: r["value"]
            for r in rows
            if r["metric"] == name
            and r["method"] in methods
            and r["method"] not in incomplete
            and r["value"] is not None
        }
        sign = -1 if metric.info.direction is Direction.HIGHER else 1
        ordered = sorted(values, key=lambda m: (sign * values[m], m))
        separable = {frozenset((p["a"], p["b"])) for p in _significant(pairs, name)}
        ties[name] = tie_groups(ordered, partial(_is_separable, separable))
    return ties


def _significant(pairs: Sequence[Mapping[str, Any]], metric_name: str) -> list[Mapping[str, Any]]:
    alpha = 1 - CONFIDENCE_LEVEL
    return [p for p in pairs if p["metric"] == metric_name and p["p_holm"] is not None and p["p_holm"] < alpha]


def _is_separable(separable: set[frozenset[str]], a: str, b: str) -> bool:
    return frozenset((a, b)) in separable


def rank_methods(
    evidence: Mapping[str, Sequence[Evidence]],
    outcomes: Mapping[str, Mapping[str, Sequence[SampleOutcome]]],
    pairs: Sequence[Mapping[str, Any]],
    ties: Mapping[str, Sequence[Sequence[str]]],
    metrics: Sequence[Metric],
    resamples: ResampleCache | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Per metric and method, best first: the ranks that the pairs leave possible, and the probability of being best.

    Args:
        evidence: Images by row.
        outcomes: By row and metric name, one outcome per image.
        pairs: The result of `paired_differences`.
        ties: The result of `tied_methods`.
        metrics: The metrics to rank by.
        resamples: Cache shared with other calls on the same evidence.

    Returns, per metric, entries with `method`, its `best` and `worst` rank, `p_best` and `n`: the probability of being
    best, over the `n` images that every method has a score for. `p_best` is None with fewer than two prompts, or if
    the metric cannot be resampled.

    >>> from layoutmark.metrics import all_metrics
    >>> from layoutmark.metrics.examples import example_image
    >>> (metric,) = [m for m in all_metrics({"detector": "yolo"}) if m.info.name == "recall50"]
    >>> boxes = {"a": {"cat": (0.0, 0.0, 0.5, 0.5)}, "b": {}}
    >>> images = {name: [example_image(prompt=p, detections=boxes[name]) for p in "pqr"] for name in "ab"}
    >>> outcomes = {name: {"recall50": metric.outcomes(evidence)} for name, evidence in images.items()}
    >>> rank_methods(images, outcomes, [], {"recall50": [["a", "b"]]}, [metric])["recall50"][0]
    {'method': 'a', 'best': 1, 'worst': 2, 'p_best': 1.0, 'n': 3}
    """
    ranks = {}
    for metric in metrics:
        name, higher_is_better = metric.info.name, metric.info.direction is Direction.HIGHER
        better_pairs = {
            (p["a"], p["b"]) if (p["difference"] > 0) == higher_is_better else (p["b"], p["a"])
            for p in _significant(pairs, name)
        }
        methods = [method for group in ties[name] for method in group]
        intervals = rank_intervals(methods, partial(_is_better, better_pairs))
        rows = [(evidence[m], outcomes[m][name]) for m in methods]
        probabilities, n = _best_probabilities(metric, rows, resamples or ResampleCache())
        ranks[name] = [
            {"method": x.name, "best": x.best, "worst": x.worst, "p_best": probability, "n": n}
            for x, probability in zip(intervals, probabilities, strict=True)
        ]
    return ranks


def _is_better(better_pairs: set[tuple[str, str]], a: str, b: str) -> bool:
    return (a, b) in better_pairs


def _best_probabilities(
    metric: Metric, rows: Sequence[tuple[Sequence[Evidence], Sequence[SampleOutcome]]], resamples: ResampleCache
) -> tuple[list[float | None], int]:
    """Each row's share of paired resamples in which it is best, and the number of images that this is based on."""
    is_set_metric = isinstance(metric, SetMetric)
    scored = [
        {
            (e.sample.id, e.seed): (e, o.outcome.value if isinstance(o.outcome, Score) else None)
            for e, o in zip(evidence, outcomes, strict=True)
            if (e.detections is not None if is_set_metric else isinstance(o.outcome, Score))
        }
        for evidence, outcomes in rows
    ]
    shared = [key for key in scored[0] if all(key in other for other in scored)] if scored else []
    undefined: list[float | None] = [None] * len(rows)
    clusters = [scored[0][key][0].sample.prompt for key in shared]
    if len(set(clusters)) < 2:
        return undefined, len(shared)
    if isinstance(metric, SetMetric):
        image_sets = [[row[key][0] for key in shared] for row in scored]
        estimates = [resamples.value_and_deviations(metric, images) for images in image_sets]
        if any(value is None or deviations is None for value, deviations in estimates):
            return undefined, len(shared)
        values = [value for value, _ in estimates]
        draws = np.array([value + deviations for value, deviations in estimates])
    else:
        table = np.array([[row[key][1] for key in shared] for row in scored], dtype=np.float64)
        weights = bootstrap_weights(clusters, RESAMPLE_DRAWS, RESAMPLE_SEED)
        values, draws = list(table.mean(axis=1)), table @ weights.T / weights.sum(axis=1)
    if any(v is None for v in values) or np.isnan(draws).any():
        return undefined, len(shared)
    higher_is_better = metric.info.direction is Direction.HIGHER
    return list(best_probabilities(np.array(values), draws, higher_is_better=higher_is_better)), len(shared)


def pareto_set(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Methods that no other method dominates: none is at least as good on all metrics they share and better on one.

    Methods in `incomplete_methods` are left out.

    Args:
        rows: Cells of `result_row`.

    >>> values = {"a": (0.9, 0.1), "b": (0.5, 0.5), "c": (0.4, 0.4)}
    >>> cells = [(m, name, v) for m, pair in values.items() for name, v in zip(("ap50", "dino"), pair)]
    >>> rows = [{"method": m, "metric": name, "value": v, "higher_is_better": True} for m, name, v in cells]
    >>> pareto_set(rows)
    ['a', 'b']
    """
    scores: dict[str, dict[str, float]] = {}
    incomplete = incomplete_methods(rows)
    for row in rows:
        if row["value"] is not None and row["method"] not in incomplete:
            scores.setdefault(row["method"], {})[row["metric"]] = (
                row["value"] if row["higher_is_better"] else -row["value"]
            )

    def dominates(a: str, b: str) -> bool:
        shared = scores[a].keys() & scores[b].keys()
        return (
            bool(shared)
            and all(scores[a][m] >= scores[b][m] for m in shared)
            and any(scores[a][m] > scores[b][m] for m in shared)
        )

    return [m for m in scores if not any(dominates(other, m) for other in scores if other != m)]
