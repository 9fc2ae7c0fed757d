"""Sides of a gate out of hand-made scores and detections; the metrics are the real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.gate import Row, Side
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics import all_metrics
from layoutmark.score import SCORED, Score, Status, Unscored

BOX = (0.2, 0.2, 0.7, 0.7)
METRICS = {m.info.name: m for m in all_metrics({"detector": "d", "clip": "c", "dino": "v", "quality": "q"})}
PARTS = {"suite": {"name": "made"}, "seeds": "equal", "metrics": {}, "code": {"metrics": "a"}}


def row(scores: Mapping[str, Any], shift: Any = None, lost: Mapping[tuple[int, int], Status] | None = None) -> Row:
    """`scores` by metric and `shift` of the detected box, each (prompts, seeds); NaN is a score that is not there."""
    prompts, seeds = np.shape(shift if shift is not None else next(iter(scores.values())))
    evidence = []
    for p in range(prompts):
        sample = Sample(f"s/{p:03}", f"p{p}", Layout(Canvas(64, 64), (Instance("0", "a cat", "cat", Box(*BOX)),)))
        for s in range(seeds):
            status = (lost or {}).get((p, s), Status.OK)
            by = 0.0 if shift is None else float(shift[p][s])
            boxes = np.array([[BOX[0] + by, BOX[1], BOX[2] + by, BOX[3]]])
            seen = Detections(boxes, np.array([0.9]), ("cat",)) if status in SCORED else None
            evidence.append(Evidence(sample, s, status, "", seen))
    outcomes = {
        name: [
            SampleOutcome(
                e.sample.id, e.seed,
                Unscored(str(e.status)) if e.status not in SCORED else Unscored("nothing") if np.isnan(v) else Score(v),
            )
            for e, v in zip(evidence, np.asarray(values, dtype=float).flat, strict=True)
        ]
        for name, values in scores.items()
    }  # fmt: skip
    if shift is not None:
        outcomes["ap50"] = list(METRICS["ap50"].outcomes(evidence))
    return Row(evidence, outcomes)


def side(made: Row, ceiling: Row | None = None, **parts: Any) -> Side:
    return Side("run", Path("nowhere"), "m", "0" * 16, {**PARTS, **parts}, METRICS, {}, made, ceiling)


@pytest.fixture
def make() -> Callable[..., Side]:
    """`make(scores, shift=None, lost=None, ceiling=None, **parts)` gives a side."""

    def made(
        scores: Mapping[str, Any], *, shift: Any = None, lost: Any = None, ceiling: Any = None, **parts: Any
    ) -> Side:
        return side(row(scores, shift, lost), row(ceiling) if ceiling is not None else None, **parts)

    return made


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
