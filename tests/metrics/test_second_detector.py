"""A second detector: the same metrics off its own boxes, its own confidence, and how far the two agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics import HEADLINE, SetMetric, all_metrics, summarise
from layoutmark.metrics.extra_encoders import roles
from layoutmark.metrics.second_detector import agreement
from layoutmark.score import Direction, Score, Status, Unscored

LEFT, RIGHT, MIDDLE = (0.0, 0.0, 0.4, 0.5), (0.6, 0.5, 1.0, 1.0), (0.3, 0.3, 0.7, 0.7)
NAMES = {"detector": "first", "second_detector": "second", "second_detector/confidence": "0.1"}


def seen(*things: tuple[tuple[float, float, float, float], float, str]) -> Detections:
    boxes, scores, labels = zip(*things, strict=True) if things else ((), (), ())
    return Detections(np.array(boxes, dtype=float).reshape(-1, 4), np.array(scores, dtype=float), tuple(labels))


def image(first: Detections | None, second: Detections | None, seed: int = 0) -> Evidence:
    layout = Layout(
        Canvas(64, 64), (Instance("a", "a cat", "cat", Box(*LEFT)), Instance("b", "a dog", "dog", Box(*RIGHT)))
    )
    return Evidence(Sample("s", "a cat and a dog", layout), seed, Status.OK, detections=first, second=second)


GOOD = seen((LEFT, 0.9, "cat"), (RIGHT, 0.8, "dog"))
POOR = seen((MIDDLE, 0.9, "cat"))
EVIDENCE = [image(GOOD, POOR), image(POOR, GOOD, 1), image(GOOD, GOOD, 2)]


def test_metrics_of_the_second_are_those_of_the_first_with_the_roles_swapped() -> None:
    """An independent way to the same number: the usual metric on evidence whose detections were exchanged."""
    found = {m.info.name: m for m in all_metrics(NAMES)}
    usual = {m.info.name: m for m in all_metrics({"detector": "second"})}
    swapped = [replace(e, detections=e.second) for e in EVIDENCE]
    for name in ("ap50", "ap", "miou", "recall50"):
        second, first = summarise(found[f"{name}_second"], EVIDENCE), summarise(usual[name], swapped)
        assert second == first, name
        assert second.value != summarise(found[name], EVIDENCE[:1]).value
        assert f"{name}_second" not in HEADLINE
    ap = found["ap50_second"]
    assert isinstance(ap, SetMetric)
    weights = np.array([[1, 1, 1], [2, 0, 1]])
    assert isinstance(usual["ap50"], SetMetric)
    assert ap.resampled(EVIDENCE, weights).tolist() == usual["ap50"].resampled(swapped, weights).tolist()
    assert "second detector second" in ap.info.variant


def test_the_second_has_a_confidence_of_its_own() -> None:
    faint = seen((LEFT, 0.12, "cat"), (RIGHT, 0.11, "dog"))
    for least, expected in (("0.1", 1.0), ("0.115", 0.5), ("0.2", 0.0)):
        by_name = {m.info.name: m for m in all_metrics({**NAMES, "second_detector/confidence": least})}
        assert summarise(by_name["recall50_second"], [image(None, faint)]).value == expected
        assert summarise(by_name["miou_second"], [image(None, faint)]).value == pytest.approx(expected)
        assert f"conf>={least}" in by_name["miou_second"].info.variant


def test_agreement_is_f1_of_boxes() -> None:
    both = {"cat", "dog"}
    assert agreement(GOOD, GOOD, both, 0.25, 0.1) == 1.0
    assert agreement(GOOD, POOR, both, 0.25, 0.1) == 0.0
    assert agreement(GOOD, seen((LEFT, 0.2, "cat")), both, 0.25, 0.1) == pytest.approx(2 / 3)
    assert agreement(GOOD, seen((LEFT, 0.2, "dog")), both, 0.25, 0.1) == 0.0, "another category is no agreement"
    assert agreement(GOOD, seen(*[(LEFT, 0.9, "cat")] * 3), both, 0.25, 0.1) == pytest.approx(2 / 5), "one to one"
    assert agreement(GOOD, GOOD, {"cat"}, 0.25, 0.1) == 1.0
    assert agreement(seen((LEFT, 0.2, "cat")), seen((LEFT, 0.05, "cat")), both, 0.25, 0.1) is None
    rng = np.random.default_rng(0)
    for _ in range(20):
        corners = rng.uniform(0, 0.6, (6, 2))
        boxes = [(x, y, x + 0.3, y + 0.3) for x, y in corners]
        a, b = seen(*[(x, 0.9, "cat") for x in boxes[:3]]), seen(*[(x, 0.9, "cat") for x in boxes[3:]])
        assert agreement(a, b, {"cat"}, 0.25, 0.25) == agreement(b, a, {"cat"}, 0.25, 0.25)


def test_what_was_not_looked_at_is_said() -> None:
    found = {m.info.name: m for m in all_metrics(NAMES)}
    for name in ("ap50_second", "miou_second", "recall50_second", "detector_agreement"):
        (outcome,) = found[name].outcomes([image(GOOD, None)])
        assert outcome.outcome == Unscored("no detections stored"), name
    (outcome,) = found["detector_agreement"].outcomes([image(seen(), seen())])
    assert outcome.outcome == Unscored("neither detector saw anything")
    (outcome,) = found["detector_agreement"].outcomes([image(GOOD, POOR)])
    assert outcome.outcome == Score(0.0)
    assert not [n for n in (m.info.name for m in all_metrics({"detector": "first"})) if "second" in n or "agree" in n]


def test_further_roles_have_metrics_under_their_own_names() -> None:
    names = {
        "clip": "C", "dino": "D", "detector": "Y", "dinov2": "V", "dino_b8": "B", "clip_b32": "P",
        "quality_musiq": "M", "quality_musiq/scale": "0 100 higher",
        "quality_niqe": "N", "quality_niqe/scale": "0 50 lower",
        "reference": "reference portrait",
    }  # fmt: skip
    assert roles(names) == ["clip_b32", "dino_b8", "dinov2"]
    found = {m.info.name: m.info for m in all_metrics(names)}
    assert {
        "dinov2", "dinov2_detected", "dino_b8", "dino_b8_detected", "clip_b32_i", "clip_b32_i_detected", "clip_b32_t",
        "quality_musiq", "quality_niqe",
    } <= set(found)  # fmt: skip
    assert "reference portrait, V" in found["dinov2"].variant
    assert (found["quality_musiq"].low, found["quality_musiq"].high) == (0.0, 100.0)
    assert found["quality_niqe"].direction is Direction.LOWER
    assert not set(HEADLINE) & {n for n in found if n.startswith(("dinov2", "clip_b32", "quality_"))}


def test_further_quality_outside_its_range_is_not_scored() -> None:
    names = {"quality_musiq": "M", "quality_musiq/scale": "0 100 higher"}
    (metric,) = [m for m in all_metrics(names) if m.info.name == "quality_musiq"]
    evidence = [replace(image(None, None), quality={"quality_musiq": v}) for v in (55.0, 101.0, float("nan"))]
    outcomes = [o.outcome for o in metric.outcomes([*evidence, image(None, None)])]
    assert outcomes == [
        Score(55.0), Unscored("outside the range that the stack card states"), Unscored("not finite"),
        Unscored("no quality_musiq stored"),
    ]  # fmt: skip


def test_further_vectors_are_read_under_their_role() -> None:
    (metric,) = [m for m in all_metrics({"clip_b32": "P"}) if m.info.name == "clip_b32_t"]
    east, diagonal = np.array([1, 0], np.float32), np.array([0.6, 0.8], np.float32)
    e = replace(
        image(None, None), vectors={"clip_b32/image": east, "clip_b32/prompt": diagonal, "clip/image": diagonal}
    )
    (outcome,) = metric.outcomes([e])
    assert isinstance(outcome.outcome, Score)
    assert outcome.outcome.value == pytest.approx(0.6)
