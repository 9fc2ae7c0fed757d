"""Detections of categories that nobody looked for reach no metric."""

from __future__ import annotations

import numpy as np

from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics import all_metrics
from layoutmark.score import Score, Status

LAYOUT = Layout(Canvas(8, 8), (Instance("0", "a man", "person", Box(0, 0, 0.5, 0.5)),))
SEEN = Detections(
    np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0.5, 0.5, 1]]),
    np.array([0.9, 0.8, 0.7]),
    ("person", "dog", "cat"),
)


def extras(judged: tuple[str, ...] | None) -> float:
    sample = Sample("s", "a man", LAYOUT, judged=judged)
    (metric,) = [m for m in all_metrics({"detector": "d"}) if m.info.name == "extra_rate"]
    (said,) = metric.outcomes([Evidence(sample, 0, Status.OK, detections=SEEN.judged(sample))])
    assert isinstance(said.outcome, Score)
    return said.outcome.value


def test_extras_count_only_where_they_were_looked_for() -> None:
    assert extras(None) == 2.0
    assert extras(("cat", "person")) == 1.0
    assert extras(()) == 0.0


def test_what_the_layout_asks_for_is_always_judged() -> None:
    kept = SEEN.judged(Sample("s", "a man", LAYOUT, judged=()))
    assert kept.labels == ("person",)
    assert kept.boxes.shape == (1, 4)
    assert kept.scores.tolist() == [0.9]
