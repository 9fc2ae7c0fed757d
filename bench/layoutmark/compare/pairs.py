"""Differences of two rows over the images both have, and Holm's correction over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from layoutmark.compare.rows import DRAWS, LEVEL, resampled_values
from layoutmark.door import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics import SetMetric, summarise
from layoutmark.score import Score
from layoutmark.statistics import holm, paired_mean_difference, paired_statistic_difference


def all_pairs(
    evidence: Mapping[str, Sequence[Evidence]],
    outcomes: Mapping[str, Mapping[str, Sequence[SampleOutcome]]],
    metrics: Sequence[Metric],
) -> list[dict[str, Any]]:
    """Differences a - b of every pair of rows on every metric, over images both have; Holm over the whole list."""
    found: list[dict[str, Any]] = []
    couples = list(combinations(evidence, 2))
    # The least p of resampling is 1 / (draws + 1): after Holm over the list it must still be able to fall below 0.05.
    draws = max(DRAWS, 40 * len(couples) * len(metrics))
    for a, b in couples:
        for metric in metrics:
            name = metric.info.name
            pair = _pair(metric, evidence[a], evidence[b], outcomes[a][name], outcomes[b][name], draws)
            found.append({"a": a, "b": b, "metric": name, **pair})
    known = [k for k, pair in enumerate(found) if pair["p"] is not None]
    for k, adjusted in zip(known, holm([found[k]["p"] for k in known]), strict=True):
        found[k]["p_holm"] = adjusted
    return found


def _pair(
    metric: Metric,
    a: Sequence[Evidence],
    b: Sequence[Evidence],
    outcomes_a: Sequence[SampleOutcome],
    outcomes_b: Sequence[SampleOutcome],
    resamples: int,
) -> dict[str, Any]:
    nothing = {"difference": None, "low": None, "high": None, "p": None, "p_holm": None, "n": 0}
    if isinstance(metric, SetMetric):
        both = _shared(a, b)
        mine, theirs = [a[i] for i, _ in both], [b[j] for _, j in both]
        values = [summarise(metric, mine).value, summarise(metric, theirs).value] if both else [None, None]
        draws = (
            [resampled_values(metric, mine, resamples), resampled_values(metric, theirs, resamples)]
            if both
            else [None, None]
        )
        if values[0] is None or values[1] is None or draws[0] is None or draws[1] is None:
            return nothing
        found = paired_statistic_difference(values[0], values[1], draws[0], draws[1], LEVEL)
        n = len(both)
    else:
        scored = [
            (x.value, y.value, a[i].sample.prompt)
            for i, j in _shared(a, b)
            if isinstance(x := outcomes_a[i].outcome, Score) and isinstance(y := outcomes_b[j].outcome, Score)
        ]
        pair = paired_mean_difference(
            np.array([x for x, _, _ in scored]), np.array([y for _, y, _ in scored]), [p for _, _, p in scored], LEVEL
        ) if scored else None  # fmt: skip
        if pair is None:
            return nothing
        found, n = pair, len(scored)
    return {"difference": found.difference, "low": found.low, "high": found.high, "p": found.p, "p_holm": None, "n": n}


def _shared(a: Sequence[Evidence], b: Sequence[Evidence]) -> list[tuple[int, int]]:
    """Positions in `a` and `b` of the images that both have pixels for, by sample and seed."""
    at = {(e.sample.id, e.seed): j for j, e in enumerate(b) if e.detections is not None or e.vectors}
    return [
        (i, at[e.sample.id, e.seed])
        for i, e in enumerate(a)
        if (e.detections is not None or e.vectors) and (e.sample.id, e.seed) in at
    ]
