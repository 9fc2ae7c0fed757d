"""Detections of categories that the suite does not judge are ignored by metrics."""

from __future__ import annotations

import numpy as np

from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics import all_metrics
from layoutmark.score import Score, Status

LAYOUT = Layout(Canvas(8, 8), (Instance("0", "a man", "person", Box(0, 0, 0.5, 0.5)),))
DETECTIONS = Detections(
    np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0.5, 0.5, 1]]),
    np.array([0.9, 0.8, 0.7]),
    ("person", "dog", "cat"),
)


def extra_rate(judged: tuple[str, ...] | None) -> float:
    sample = Sample("s", "a man", LAYOUT, judged_categories=judged)
    (metric,) = [m for m in all_metrics({"detector": "d"}) if m.info.name == "extra_rate"]
    (outcome,) = metric.outcomes([Evidence(sample, 0, Status.OK, detections=DETECTIONS.with_judged_categories(sample))])
    assert isinstance(outcome.outcome, Score)
    return outcome.outcome.value


def test_only_judged_categories_count_as_extra() -> None:
    assert extra_rate(None) == 2.0
    assert extra_rate(("cat", "person")) == 1.0
    assert extra_rate(()) == 0.0


def test_categories_of_the_layout_are_always_judged() -> None:
    judged_detections = DETECTIONS.with_judged_categories(Sample("s", "a man", LAYOUT, judged_categories=()))
    assert judged_detections.labels == ("person",)
    assert judged_detections.boxes.shape == (1, 4)
    assert judged_detections.scores.tolist() == [0.9]
