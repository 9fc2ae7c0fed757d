"""A second detector: the same metrics from its own boxes, its own confidence, and agreement of the two detectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics import HEADLINE_METRICS, SetMetric, all_metrics, summarise_metric
from layoutmark.metrics.extra_encoders import extra_encoder_roles
from layoutmark.metrics.second_detector import detection_f1
from layoutmark.score import Direction, Score, Status, Unscored

LEFT, RIGHT, MIDDLE = (0.0, 0.0, 0.4, 0.5), (0.6, 0.5, 1.0, 1.0), (0.3, 0.3, 0.7, 0.7)
NAMES = {"detector": "first", "second_detector": "second", "second_detector/confidence": "0.1"}


def make_detections(*objects: tuple[tuple[float, float, float, float], float, str]) -> Detections:
    boxes, scores, labels = zip(*objects, strict=True) if objects else ((), (), ())
    return Detections(np.array(boxes, dtype=float).reshape(-1, 4), np.array(scores, dtype=float), tuple(labels))


def make_image(first: Detections | None, second: Detections | None, seed: int = 0) -> Evidence:
    layout = Layout(
        Canvas(64, 64), (Instance("a", "a cat", "cat", Box(*LEFT)), Instance("b", "a dog", "dog", Box(*RIGHT)))
    )
    return Evidence(Sample("s", "a cat and a dog", layout), seed, Status.OK, detections=first, second_detections=second)


GOOD = make_detections((LEFT, 0.9, "cat"), (RIGHT, 0.8, "dog"))
POOR = make_detections((MIDDLE, 0.9, "cat"))
EVIDENCE = [make_image(GOOD, POOR), make_image(POOR, GOOD, 1), make_image(GOOD, GOOD, 2)]


def test_second_detector_metrics_equal_the_first_with_swapped_roles() -> None:
    """The same values computed independently: the first detector's metrics on evidence with swapped detections."""
    metric_by_name = {m.info.name: m for m in all_metrics(NAMES)}
    first_detector_metrics = {m.info.name: m for m in all_metrics({"detector": "second"})}
    swapped = [replace(e, detections=e.second_detections) for e in EVIDENCE]
    for name in ("ap50", "ap", "miou", "recall50"):
        second_summary, expected = (
            summarise_metric(metric_by_name[f"{name}_second"], EVIDENCE),
            summarise_metric(first_detector_metrics[name], swapped),
        )
        assert second_summary == expected, name
        assert second_summary.value != summarise_metric(metric_by_name[name], EVIDENCE[:1]).value
        assert f"{name}_second" not in HEADLINE_METRICS
    ap = metric_by_name["ap50_second"]
    assert isinstance(ap, SetMetric)
    weights = np.array([[1, 1, 1], [2, 0, 1]])
    assert isinstance(first_detector_metrics["ap50"], SetMetric)
    assert (
        ap.resampled_values(EVIDENCE, weights).tolist()
        == first_detector_metrics["ap50"].resampled_values(swapped, weights).tolist()
    )
    assert "second detector second" in ap.info.variant


def test_the_second_detector_has_its_own_confidence() -> None:
    faint = make_detections((LEFT, 0.12, "cat"), (RIGHT, 0.11, "dog"))
    for min_confidence, expected in (("0.1", 1.0), ("0.115", 0.5), ("0.2", 0.0)):
        metric_by_name = {m.info.name: m for m in all_metrics({**NAMES, "second_detector/confidence": min_confidence})}
        assert summarise_metric(metric_by_name["recall50_second"], [make_image(None, faint)]).value == expected
        assert summarise_metric(metric_by_name["miou_second"], [make_image(None, faint)]).value == pytest.approx(
            expected
        )
        assert f"conf>={min_confidence}" in metric_by_name["miou_second"].info.variant


def test_agreement_is_f1_of_boxes() -> None:
    categories = {"cat", "dog"}
    assert detection_f1(GOOD, GOOD, categories, 0.25, 0.1) == 1.0
    assert detection_f1(GOOD, POOR, categories, 0.25, 0.1) == 0.0
    assert detection_f1(GOOD, make_detections((LEFT, 0.2, "cat")), categories, 0.25, 0.1) == pytest.approx(2 / 3)
    assert detection_f1(GOOD, make_detections((LEFT, 0.2, "dog")), categories, 0.25, 0.1) == 0.0, (
        "detections of different categories do not agree"
    )
    assert detection_f1(GOOD, make_detections(*[(LEFT, 0.9, "cat")] * 3), categories, 0.25, 0.1) == pytest.approx(
        2 / 5
    ), "one to one"
    assert detection_f1(GOOD, GOOD, {"cat"}, 0.25, 0.1) == 1.0
    assert (
        detection_f1(make_detections((LEFT, 0.2, "cat")), make_detections((LEFT, 0.05, "cat")), categories, 0.25, 0.1)
        is None
    )
    rng = np.random.default_rng(0)
    for _ in range(20):
        corners = rng.uniform(0, 0.6, (6, 2))
        boxes = [(x, y, x + 0.3, y + 0.3) for x, y in corners]
        a, b = (
            make_detections(*[(x, 0.9, "cat") for x in boxes[:3]]),
            make_detections(*[(x, 0.9, "cat") for x in boxes[3:]]),
        )
        assert detection_f1(a, b, {"cat"}, 0.25, 0.25) == detection_f1(b, a, {"cat"}, 0.25, 0.25)


def test_missing_detections_are_unscored() -> None:
    metric_by_name = {m.info.name: m for m in all_metrics(NAMES)}
    for name in ("ap50_second", "miou_second", "recall50_second", "detector_agreement"):
        (outcome,) = metric_by_name[name].outcomes([make_image(GOOD, None)])
        assert outcome.outcome == Unscored("no detections stored"), name
    (outcome,) = metric_by_name["detector_agreement"].outcomes([make_image(make_detections(), make_detections())])
    assert outcome.outcome == Unscored("neither detector saw anything")
    (outcome,) = metric_by_name["detector_agreement"].outcomes([make_image(GOOD, POOR)])
    assert outcome.outcome == Score(0.0)
    assert not [n for n in (m.info.name for m in all_metrics({"detector": "first"})) if "second" in n or "agree" in n]


def test_extra_roles_have_metrics_under_their_own_names() -> None:
    names = {
        "clip": "C", "dino": "D", "detector": "Y", "dinov2": "V", "dino_b8": "B", "clip_b32": "P",
        "quality_musiq": "M", "quality_musiq/scale": "0 100 higher",
        "quality_niqe": "N", "quality_niqe/scale": "0 50 lower",
        "reference": "reference portrait",
    }  # fmt: skip
    assert extra_encoder_roles(names) == ["clip_b32", "dino_b8", "dinov2"]
    info_by_name = {m.info.name: m.info for m in all_metrics(names)}
    assert {
        "dinov2", "dinov2_detected", "dino_b8", "dino_b8_detected", "clip_b32_i", "clip_b32_i_detected", "clip_b32_t",
        "quality_musiq", "quality_niqe",
    } <= set(info_by_name)  # fmt: skip
    assert "reference portrait, V" in info_by_name["dinov2"].variant
    assert (info_by_name["quality_musiq"].low, info_by_name["quality_musiq"].high) == (0.0, 100.0)
    assert info_by_name["quality_niqe"].direction is Direction.LOWER
    assert not set(HEADLINE_METRICS) & {n for n in info_by_name if n.startswith(("dinov2", "clip_b32", "quality_"))}


def test_extra_quality_outside_its_range_is_not_scored() -> None:
    names = {"quality_musiq": "M", "quality_musiq/scale": "0 100 higher"}
    (metric,) = [m for m in all_metrics(names) if m.info.name == "quality_musiq"]
    evidence = [replace(make_image(None, None), quality={"quality_musiq": v}) for v in (55.0, 101.0, float("nan"))]
    outcomes = [o.outcome for o in metric.outcomes([*evidence, make_image(None, None)])]
    assert outcomes == [
        Score(55.0), Unscored("outside the range that the stack card states"), Unscored("not finite"),
        Unscored("no quality_musiq stored"),
    ]  # fmt: skip


def test_extra_vectors_are_read_under_their_role() -> None:
    (metric,) = [m for m in all_metrics({"clip_b32": "P"}) if m.info.name == "clip_b32_t"]
    east, diagonal = np.array([1, 0], np.float32), np.array([0.6, 0.8], np.float32)
    e = replace(
        make_image(None, None), vectors={"clip_b32/image": east, "clip_b32/prompt": diagonal, "clip/image": diagonal}
    )
    (outcome,) = metric.outcomes([e])
    assert isinstance(outcome.outcome, Score)
    assert outcome.outcome.value == pytest.approx(0.6)
