"""Sides of a gate built from hand-made scores and detections, with the real metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.gate import ScoredRow, Side
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics import all_metrics
from layoutmark.score import SCORED_STATUSES, Score, Status, Unscored

BOX = (0.2, 0.2, 0.7, 0.7)
METRICS = {m.info.name: m for m in all_metrics({"detector": "d", "clip": "c", "dino": "v", "quality": "q"})}
PARTS = {"suite": {"name": "made"}, "seeds": "equal", "metrics": {}, "code": {"metrics": "a"}}


def build_row(
    scores: Mapping[str, Any], shift: Any = None, lost: Mapping[tuple[int, int], Status] | None = None
) -> ScoredRow:
    """Build a row from scores by metric and shifts of the detected box, each (prompts, seeds); NaN is unscored."""
    prompts, seeds = np.shape(shift if shift is not None else next(iter(scores.values())))
    evidence = []
    for p in range(prompts):
        sample = Sample(f"s/{p:03}", f"p{p}", Layout(Canvas(64, 64), (Instance("0", "a cat", "cat", Box(*BOX)),)))
        for s in range(seeds):
            status = (lost or {}).get((p, s), Status.OK)
            offset = 0.0 if shift is None else float(shift[p][s])
            boxes = np.array([[BOX[0] + offset, BOX[1], BOX[2] + offset, BOX[3]]])
            detections = Detections(boxes, np.array([0.9]), ("cat",)) if status in SCORED_STATUSES else None
            evidence.append(Evidence(sample, s, status, "", detections))
    outcomes = {
        name: [
            SampleOutcome(
                e.sample.id, e.seed,
                Unscored(str(e.status))
                if e.status not in SCORED_STATUSES
                else Unscored("nothing")
                if np.isnan(v)
                else Score(v),
            )
            for e, v in zip(evidence, np.asarray(values, dtype=float).flat, strict=True)
        ]
        for name, values in scores.items()
    }  # fmt: skip
    if shift is not None:
        outcomes["ap50"] = list(METRICS["ap50"].outcomes(evidence))
    return ScoredRow(evidence, outcomes)


def build_side(row: ScoredRow, ceiling: ScoredRow | None = None, **parts: Any) -> Side:
    return Side("run", Path("nowhere"), "m", "0" * 16, {**PARTS, **parts}, METRICS, {}, row, ceiling)


@pytest.fixture
def make() -> Callable[..., Side]:
    """Return `make(scores, shift=None, lost=None, ceiling=None, **parts)`, which builds a side."""

    def make_side(
        scores: Mapping[str, Any], *, shift: Any = None, lost: Any = None, ceiling: Any = None, **parts: Any
    ) -> Side:
        return build_side(build_row(scores, shift, lost), build_row(ceiling) if ceiling is not None else None, **parts)

    return make_side


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
