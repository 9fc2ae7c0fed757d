"""Differences of two rows over the images both have, and Holm's correction over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.api import Metric
from layoutmark.compare.rows import LEVEL, Resamples
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.layout import Sample
from layoutmark.metrics import SetMetric
from layoutmark.metrics.aggregation import without_pixels
from layoutmark.score import Score
from layoutmark.statistics import PairedDifference, holm, paired_mean_difference, paired_statistic_difference

Floats = npt.NDArray[np.float64]
NOTHING = {"difference": None, "low": None, "high": None, "p": None, "p_holm": None, "n": 0}


def all_pairs(
    evidence: Mapping[str, Sequence[Evidence]],
    outcomes: Mapping[str, Mapping[str, Sequence[SampleOutcome]]],
    metrics: Sequence[Metric],
    resamples: Resamples | None = None,
) -> list[dict[str, Any]]:
    """Differences a - b of every pair of rows on every metric, over images both have; Holm over the whole list."""
    found: list[dict[str, Any]] = []
    couples = list(combinations(evidence, 2))
    resamples = resamples or Resamples()
    sets = {m.info.name: m for m in metrics if isinstance(m, SetMetric)}
    for a, b in couples:
        both = shared(evidence[a], evidence[b])
        for metric in metrics:
            if (whole := sets.get(metric.info.name)) is not None:
                pair = _set_difference(
                    whole, [evidence[a][i] for i, _ in both], [evidence[b][j] for _, j in both], resamples
                )
            else:
                name = metric.info.name
                pair = _mean_difference(*scored_by_both(evidence[a], outcomes[a][name], outcomes[b][name], both))
            found.append({"a": a, "b": b, "metric": metric.info.name, **pair})
    known = [k for k, pair in enumerate(found) if pair["p"] is not None]
    for k, adjusted in zip(known, holm([found[k]["p"] for k in known]), strict=True):
        found[k]["p_holm"] = adjusted
    return found


def shared(a: Sequence[Evidence], b: Sequence[Evidence]) -> list[tuple[int, int]]:
    """Positions in `a` and `b` of the images that both have pixels for, by sample and seed."""
    at = {(e.sample.id, e.seed): j for j, e in enumerate(b) if without_pixels(e) is None}
    return [
        (i, at[e.sample.id, e.seed])
        for i, e in enumerate(a)
        if without_pixels(e) is None and (e.sample.id, e.seed) in at
    ]


def scored_by_both(
    a: Sequence[Evidence],
    outcomes_a: Sequence[SampleOutcome],
    outcomes_b: Sequence[SampleOutcome],
    both: Sequence[tuple[int, int]],
) -> tuple[Floats, Floats, list[Sample]]:
    """Values (n,) of both and their samples, over the images of `both`, as `shared` gives them, with two scores."""
    scored = [
        (x.value, y.value, a[i].sample)
        for i, j in both
        if isinstance(x := outcomes_a[i].outcome, Score) and isinstance(y := outcomes_b[j].outcome, Score)
    ]
    return np.array([x for x, _, _ in scored]), np.array([y for _, y, _ in scored]), [sample for *_, sample in scored]


def _mean_difference(a: Floats, b: Floats, samples: Sequence[Sample]) -> dict[str, Any]:
    pair = paired_mean_difference(a, b, [s.prompt for s in samples], LEVEL) if samples else None
    return NOTHING if pair is None else _json(pair, len(samples))


def _set_difference(
    metric: SetMetric, a: Sequence[Evidence], b: Sequence[Evidence], resamples: Resamples
) -> dict[str, Any]:
    (value_a, off_a), (value_b, off_b) = resamples.of(metric, a), resamples.of(metric, b)
    if value_a is None or value_b is None or off_a is None or off_b is None:
        return NOTHING
    prompts = len({e.sample.prompt for e in a})
    pair = paired_statistic_difference(value_a, value_b, off_a, off_b, prompts, LEVEL, n=len(a))
    return NOTHING if pair is None else _json(pair, len(a))


def _json(found: PairedDifference, n: int) -> dict[str, Any]:
    return {"difference": found.difference, "low": found.low, "high": found.high, "p": found.p, "p_holm": None, "n": n}
