"""Who is ahead, and how sure that is: tie groups, intervals of ranks, the chance of being best, the Pareto set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from layoutmark.api import Metric
from layoutmark.compare.rows import DRAWS, LEVEL, SEED, Resamples
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics import SetMetric
from layoutmark.score import SCORED, Direction, Score, Status
from layoutmark.statistics import best_shares, cluster_weights, rank_intervals, tie_groups

LOST = tuple(str(status) for status in Status if status not in SCORED)


def incomplete(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Methods that lack pixels of some image, and of how many by status: a rank needs the whole set.

    A method that leaves out what is hard must not look better for it.
    """
    found = {}
    for row in rows:
        lost = {status: n for status in LOST if (n := (row.get("unscored") or {}).get(status))}
        if lost:
            found[row["method"]] = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in lost.items())
    return found


def all_ties(
    rows: Sequence[Mapping[str, Any]],
    pairs: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
    metrics: Sequence[Metric],
) -> dict[str, list[list[str]]]:
    """Per metric, methods best first in groups that the data cannot tell apart (Holm-adjusted p at least 0.05).

    Methods that are `incomplete` are left out.
    """
    found, left_out = {}, incomplete(rows)
    for metric in metrics:
        name = metric.info.name
        values = {
            r["method"]: r["value"]
            for r in rows
            if r["metric"] == name and r["method"] in methods and r["method"] not in left_out and r["value"] is not None
        }
        sign = -1 if metric.info.direction is Direction.HIGHER else 1
        ordered = sorted(values, key=lambda m: (sign * values[m], m))
        apart = {
            frozenset((p["a"], p["b"]))
            for p in pairs
            if p["metric"] == name and p["p_holm"] is not None and p["p_holm"] < 1 - LEVEL
        }
        found[name] = tie_groups(ordered, partial(_separated, apart))
    return found


def _separated(apart: set[frozenset[str]], a: str, b: str) -> bool:
    return frozenset((a, b)) in apart


def all_ranks(
    evidence: Mapping[str, Sequence[Evidence]],
    outcomes: Mapping[str, Mapping[str, Sequence[SampleOutcome]]],
    pairs: Sequence[Mapping[str, Any]],
    ties: Mapping[str, Sequence[Sequence[str]]],
    metrics: Sequence[Metric],
    resamples: Resamples | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Per metric and method, best first: the ranks that the pairs leave open, and the chance of being best.

    `p_best` is over the images that every method has a score for, `n` of them; None where there is no interval.
    """
    found = {}
    for metric in metrics:
        name, higher = metric.info.name, metric.info.direction is Direction.HIGHER
        proven = {
            (p["a"], p["b"]) if (p["difference"] > 0) == higher else (p["b"], p["a"])
            for p in pairs
            if p["metric"] == name and p["p_holm"] is not None and p["p_holm"] < 1 - LEVEL
        }
        methods = [method for group in ties[name] for method in group]
        places = rank_intervals(methods, partial(_proven, proven))
        rows = [(evidence[m], outcomes[m][name]) for m in methods]
        chances, n = _chances(metric, rows, resamples or Resamples())
        found[name] = [
            {"method": x.name, "best": x.best, "worst": x.worst, "p_best": chance, "n": n}
            for x, chance in zip(places, chances, strict=True)
        ]
    return found


def _proven(proven: set[tuple[str, str]], a: str, b: str) -> bool:
    return (a, b) in proven


def _chances(
    metric: Metric, rows: Sequence[tuple[Sequence[Evidence], Sequence[SampleOutcome]]], resamples: Resamples
) -> tuple[list[float | None], int]:
    """Of each row the share of paired resamples in which it is best, and over how many images."""
    of_sets = isinstance(metric, SetMetric)
    scored = [
        {
            (e.sample.id, e.seed): (e, o.outcome.value if isinstance(o.outcome, Score) else None)
            for e, o in zip(evidence, outcomes, strict=True)
            if (e.detections is not None if of_sets else isinstance(o.outcome, Score))
        }
        for evidence, outcomes in rows
    ]
    shared = [key for key in scored[0] if all(key in other for other in scored)] if scored else []
    nothing: list[float | None] = [None] * len(rows)
    clusters = [scored[0][key][0].sample.prompt for key in shared]
    if len(set(clusters)) < 2:
        return nothing, len(shared)
    if isinstance(metric, SetMetric):
        images = [[row[key][0] for key in shared] for row in scored]
        made = [resamples.of(metric, part) for part in images]
        if any(v is None or d is None for v, d in made):
            return nothing, len(shared)
        values = [v for v, _ in made]
        draws = np.array([v + d for v, d in made])
    else:
        table = np.array([[row[key][1] for key in shared] for row in scored], dtype=np.float64)
        weights = cluster_weights(clusters, DRAWS, SEED)
        values, draws = list(table.mean(axis=1)), table @ weights.T / weights.sum(axis=1)
    if any(v is None for v in values) or np.isnan(draws).any():
        return nothing, len(shared)
    higher = metric.info.direction is Direction.HIGHER
    return list(best_shares(np.array(values), draws, higher=higher)), len(shared)


def pareto(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Methods that no other beats or equals on every headline metric that both have, while beating it on one.

    Methods that are `incomplete` are left out.
    """
    table: dict[str, dict[str, float]] = {}
    left_out = incomplete(rows)
    for row in rows:
        if row["value"] is not None and row["method"] not in left_out:
            table.setdefault(row["method"], {})[row["metric"]] = (
                row["value"] if row["higher_is_better"] else -row["value"]
            )

    def beats(a: str, b: str) -> bool:
        shared = table[a].keys() & table[b].keys()
        return (
            bool(shared)
            and all(table[a][m] >= table[b][m] for m in shared)
            and any(table[a][m] > table[b][m] for m in shared)
        )

    return [m for m in table if not any(beats(other, m) for other in table if other != m)]
