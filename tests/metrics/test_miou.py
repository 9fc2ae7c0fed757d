"""Mean IoU, recall and extra detections of single images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Layout
from layoutmark.metrics import summarise_metric
from layoutmark.metrics.miou import MatchMetric, metrics
from layoutmark.score import Direction, Score, Status, Unscored

Make = Callable[..., Evidence]
RandomSet = Callable[..., list[Evidence]]
NAMES = ("miou", "recall50", "extra_rate")
LEFT, RIGHT = (0.1, 0.1, 0.4, 0.5), (0.5, 0.1, 0.9, 0.5)


@pytest.fixture
def metric_by_name(scorers: dict[str, str]) -> dict[str, MatchMetric]:
    metrics_offered = {m.info.name: m for m in metrics(scorers) if isinstance(m, MatchMetric)}
    assert tuple(metrics_offered) == NAMES
    return metrics_offered


def test_unmatched_targets_count_zero(make: Make, metric_by_name: dict[str, MatchMetric]) -> None:
    e = make([("cat", LEFT), ("dog", RIGHT), ("cat", RIGHT)], [("cat", 0.9, LEFT), ("kite", 0.9, RIGHT)])
    (iou,), (recall,), (extra,) = (metric_by_name[n].outcomes([e]) for n in NAMES)
    assert [i.outcome for i in iou.instances] == [Score(1.0), Score(0.0), Score(0.0)]
    assert [i.instance for i in iou.instances] == ["i0", "i1", "i2"]
    assert iou.outcome == recall.outcome == Score(1 / 3)
    assert extra.outcome == Score(1.0)
    assert extra.instances == ()


def test_perfect_detections_score_1_with_no_extras(
    random_evidence: RandomSet, make: Make, metric_by_name: dict[str, MatchMetric]
) -> None:
    perfect = []
    for e in random_evidence(0):
        targets = [(i.category, i.box.xyxy) for i in e.sample.layout.instances]
        perfect.append(make(targets, [(name, 0.9, box) for name, box in targets], id=e.sample.id))
    assert summarise_metric(metric_by_name["miou"], perfect).value == pytest.approx(1.0)
    assert summarise_metric(metric_by_name["recall50"], perfect).value == 1.0
    assert summarise_metric(metric_by_name["extra_rate"], perfect).value == 0.0


def test_better_boxes_score_better(make: Make, metric_by_name: dict[str, MatchMetric]) -> None:
    values = []
    for offset in (0.0, 0.05, 0.15, 0.3):
        moved = (LEFT[0] + offset, LEFT[1], LEFT[2] + offset, LEFT[3])
        values.append(
            [summarise_metric(metric_by_name[n], [make([("cat", LEFT)], [("cat", 0.9, moved)])]).value for n in NAMES]
        )
    assert [v[0] for v in values] == pytest.approx([1.0, 0.25 / 0.35, 0.15 / 0.45, 0.0], abs=1e-12)
    assert [v[1] for v in values] == [1.0, 1.0, 0.0, 0.0]
    assert [v[2] for v in values] == [0.0, 0.0, 1.0, 1.0]
    assert metric_by_name["extra_rate"].info.direction is Direction.LOWER
    assert metric_by_name["miou"].info.direction is metric_by_name["recall50"].info.direction is Direction.HIGHER


@pytest.mark.parametrize("name", NAMES)
def test_order_and_mirror_do_not_matter(
    name: str, random_evidence: RandomSet, metric_by_name: dict[str, MatchMetric]
) -> None:
    evidence = random_evidence(2)
    outcomes = metric_by_name[name].outcomes(evidence)
    assert metric_by_name[name].outcomes(evidence[::-1]) == outcomes[::-1]
    for e, o in zip(evidence, outcomes, strict=True):
        (mirrored,) = metric_by_name[name].outcomes([mirrored_and_shuffled(e)])
        if isinstance(o.outcome, Score):
            assert isinstance(mirrored.outcome, Score)
            assert mirrored.outcome.value == pytest.approx(o.outcome.value, abs=1e-12)
        else:
            assert mirrored.outcome == o.outcome


def mirrored_and_shuffled(e: Evidence) -> Evidence:
    instances = tuple(dataclasses.replace(i, box=i.box.flipped()) for i in e.sample.layout.instances)[::-1]
    assert e.detections is not None
    order = np.random.default_rng(0).permutation(len(e.detections))
    boxes = e.detections.boxes[order]
    boxes[:, [0, 2]] = 1 - boxes[:, [2, 0]]
    labels = tuple(e.detections.labels[k] for k in order)
    sample = dataclasses.replace(e.sample, layout=Layout(e.sample.layout.canvas, instances))
    return dataclasses.replace(e, sample=sample, detections=Detections(boxes, e.detections.scores[order], labels))


def test_extra_detections_need_the_minimum_confidence(make: Make, metric_by_name: dict[str, MatchMetric]) -> None:
    detected = [("cat", 0.9, LEFT), ("cat", 0.8, LEFT), ("dog", 0.25, RIGHT), ("dog", 0.24, RIGHT)]
    (outcome,) = metric_by_name["extra_rate"].outcomes([make([("cat", LEFT)], detected)])
    assert outcome.outcome == Score(2.0)


def test_without_targets_only_the_extra_rate_is_defined(make: Make, metric_by_name: dict[str, MatchMetric]) -> None:
    e = make([], [("cat", 0.9, LEFT)])
    assert metric_by_name["miou"].outcomes([e])[0].outcome == Unscored("no targets")
    assert metric_by_name["recall50"].outcomes([e])[0].outcome == Unscored("no targets")
    assert metric_by_name["extra_rate"].outcomes([e])[0].outcome == Score(1.0)


@pytest.mark.parametrize("name", NAMES)
def test_no_image_is_dropped(name: str, make: Make, metric_by_name: dict[str, MatchMetric]) -> None:
    assert metric_by_name[name].outcomes([]) == []
    evidence = [
        make([("cat", LEFT)], None, status=Status.FAILED),
        make([("cat", LEFT)], None),
        make([("cat", LEFT)], [], status=Status.DEGENERATE),
        make([("cat", LEFT)], [], status=Status.FILTERED),
    ]
    summary = summarise_metric(metric_by_name[name], evidence)
    assert (summary.value, summary.n, summary.requested) == (0.0, 2, 4)
    assert summary.unscored == {"failed": 1, "no detections stored": 1}
    if name != "extra_rate":
        (failed, *_) = metric_by_name[name].outcomes(evidence)
        assert [i.outcome for i in failed.instances] == [Unscored("failed")]


def test_the_variant_names_everything_that_changes_the_value(metric_by_name: dict[str, MatchMetric]) -> None:
    assert metric_by_name["miou"].info.variant == (
        "miou[box, one-to-one within category, conf>=0.25, detector tiny-yolo, unmatched=0]"
    )
    assert "IoU>=0.5" in metric_by_name["recall50"].info.variant
