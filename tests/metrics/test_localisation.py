"""Oracle, success, precision, overlaps, points and masks, on cases with known answers.

Independent implementations are compared in tests/validity.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Canvas, Layout, Mask
from layoutmark.metrics import all_metrics, summarise_metric
from layoutmark.metrics.success import summarise_by_instance_count
from layoutmark.score import Outcome, Score, Status, Unscored

Make = Callable[..., Evidence]
RandomSet = Callable[..., list[Evidence]]
LEFT, RIGHT = (0.1, 0.1, 0.5, 0.5), (0.3, 0.1, 0.7, 0.5)


@pytest.fixture
def metric_by_name(scorers: dict[str, str]) -> dict[str, Any]:
    return {m.info.name: m for m in all_metrics({**scorers, "masks": "seg"})}


@pytest.fixture
def outcome_of(metric_by_name: dict[str, Any]) -> Callable[[str, Evidence], Outcome]:
    return lambda name, e: metric_by_name[name].outcomes([e])[0].outcome


def with_instance(e: Evidence, **changes: Any) -> Evidence:
    first, *other_instances = e.sample.layout.instances
    layout = Layout(e.sample.layout.canvas, (dataclasses.replace(first, **changes), *other_instances))
    return dataclasses.replace(e, sample=dataclasses.replace(e.sample, layout=layout))


def test_the_oracle_lets_a_detection_serve_two_targets(make: Make, outcome_of) -> None:
    e = make([("cat", LEFT), ("cat", LEFT)], [("cat", 0.9, LEFT)])
    assert outcome_of("miou_oracle", e) == Score(1.0)
    assert outcome_of("miou", e) == Score(0.5)


def test_the_oracle_is_never_below_one_to_one(random_evidence: RandomSet, metric_by_name) -> None:
    evidence = random_evidence(2, images=30)
    pairs = [
        (a.outcome.value, b.outcome.value)
        for a, b in zip(
            metric_by_name["miou_oracle"].outcomes(evidence), metric_by_name["miou"].outcomes(evidence), strict=True
        )
        if isinstance(a.outcome, Score)
    ]
    assert all(a >= b for a, b in pairs)
    assert "oracle" in metric_by_name["miou_oracle"].info.variant


def test_success_is_all_or_nothing_and_precision_needs_detections(make: Make, outcome_of) -> None:
    half = make([("cat", LEFT), ("dog", RIGHT)], [("cat", 0.9, LEFT)])
    full = make([("cat", LEFT), ("dog", RIGHT)], [("cat", 0.9, LEFT), ("dog", 0.9, RIGHT), ("bus", 0.5, LEFT)])
    assert (outcome_of("success_rate", half), outcome_of("success_rate", full)) == (Score(0.0), Score(1.0))
    assert (outcome_of("precision50", half), outcome_of("precision50", full)) == (Score(1.0), Score(2 / 3))
    empty = make([("cat", LEFT)], [])
    assert (outcome_of("success_rate", empty), outcome_of("precision50", empty)) == (
        Score(0.0),
        Unscored("nothing detected"),
    )
    assert outcome_of("success_rate", make([], [])) == Unscored("no targets")


def test_success_by_count_adds_up(random_evidence: RandomSet, make: Make, metric_by_name) -> None:
    evidence = [*random_evidence(6, images=40), make([("cat", LEFT)], None, status=Status.FAILED)]
    outcomes = metric_by_name["success_rate"].outcomes(evidence)
    cells = summarise_by_instance_count(evidence, outcomes)
    assert list(cells) == sorted(cells)
    overall = summarise_metric(metric_by_name["success_rate"], evidence)
    assert sum(c.requested for c in cells.values()) == overall.requested == 41
    assert sum(c.n for c in cells.values()) == overall.n
    assert sum(c.value * c.n for c in cells.values() if c.value is not None) == pytest.approx(overall.value * overall.n)
    assert cells[0].unscored == {"no targets": cells[0].requested}
    assert cells[1].unscored == {"failed": 1}


def test_overlapping_targets_drawn_apart_score_0(make: Make, outcome_of) -> None:
    targets = [("cat", LEFT), ("dog", RIGHT)]
    correct = make(targets, [("cat", 0.9, LEFT), ("dog", 0.9, RIGHT)])
    apart = make(targets, [("cat", 0.9, (0.0, 0.1, 0.4, 0.5)), ("dog", 0.9, (0.4, 0.1, 0.8, 0.5))])
    one_missing = make(targets, [("cat", 0.9, LEFT)])
    assert [outcome_of("miou_overlap", e) for e in (correct, apart, one_missing)] == [
        Score(1.0),
        Score(0.0),
        Score(0.0),
    ]
    assert outcome_of("miou", apart).value == pytest.approx(0.6)
    not_overlapping = make([("cat", LEFT), ("dog", (0.5, 0.1, 0.9, 0.5))], [])
    assert outcome_of("miou_overlap", not_overlapping) == Unscored("no overlapping targets")


def test_points_and_scribbles_in_boxes(make: Make, outcome_of) -> None:
    e = with_instance(
        make([("cat", LEFT)], [("cat", 0.9, RIGHT)]), point=(0.2, 0.2), scribble=((0.2, 0.2), (0.4, 0.2), (0.3, 0.5))
    )
    assert outcome_of("point_in_box", e) == Score(0.0)
    assert outcome_of("scribble_in_box", e) == Score(2 / 3)
    assert outcome_of("point_in_box", with_instance(e, point=None)) == Unscored("no point asked for")
    assert outcome_of("scribble_in_box", dataclasses.replace(e, detections=make([], []).detections)) == Score(0.0)


def test_masks_are_required_and_never_invented(make: Make, outcome_of, scorers: dict[str, str]) -> None:
    mask_metrics = ("mask_miou", "mask_ap50", "point_in_mask", "scribble_in_mask")
    assert not {m.info.name for m in all_metrics(scorers)}.intersection(mask_metrics)
    full = np.zeros((10, 20), bool)
    full[1:5, 2:10] = True
    half = full.copy()
    half[1:5, 2:6] = False
    e = with_instance(
        make([("cat", LEFT)], [("cat", 0.9, LEFT)]),
        mask=Mask.from_array(full),
        point=(0.12, 0.2),
        scribble=((1.0, 1.0),),
    )
    for name in mask_metrics:
        assert outcome_of(name, e) == Unscored("no masks stored")

    def with_mask(mask: np.ndarray) -> Evidence:
        return dataclasses.replace(e, detections=dataclasses.replace(e.detections, masks=(Mask.from_array(mask),)))

    assert [outcome_of("mask_miou", with_mask(m)) for m in (full, half, ~full)] == [Score(1.0), Score(0.5), Score(0.0)]
    assert [outcome_of("point_in_mask", with_mask(m)) for m in (full, half)] == [Score(1.0), Score(0.0)]
    assert [outcome_of("scribble_in_mask", with_mask(m)) for m in (full, ~full)] == [Score(0.0), Score(1.0)]
    assert [outcome_of("mask_ap50", with_mask(m)).value for m in (full, half, ~full)] == pytest.approx([1.0, 1.0, 0.0])
    for name in ("mask_miou", "mask_ap50"):
        with pytest.raises(LayoutmarkError) as caught:
            outcome_of(name, with_mask(np.ones((5, 5), bool)))
        assert str(caught.value) == (
            "masks of sample 's': found 5 x 5 detected, 10 x 20 asked for; expected one grid. "
            "Store detected masks on the grid of the layout's canvas."
        )
    without_mask = dataclasses.replace(e, detections=dataclasses.replace(e.detections, masks=(None,)))
    for name in ("mask_miou", "point_in_mask", "scribble_in_mask"):
        assert outcome_of(name, without_mask) == Unscored("no mask of the detection stored")
    # Detections without a mask do not take part in mask AP, so the target is not detected.
    assert outcome_of("mask_ap50", without_mask) == Score(0.0)
    without_detections = dataclasses.replace(e, detections=Detections(np.empty((0, 4)), np.empty(0), (), ()))
    for name in mask_metrics:
        assert outcome_of(name, without_detections) == Score(0.0)
    assert outcome_of("mask_ap50", with_instance(with_mask(full), mask=None)) == Unscored("no mask asked for")


def test_mask_ap_depends_on_masks_and_on_the_set(make: Make, metric_by_name) -> None:
    """Two targets share one box, so only masks can tell the detections apart."""
    left, right = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    left[1:5, 1:3], right[1:5, 3:5] = True, True
    e = with_instance(make([("cat", LEFT)], [("cat", 0.9, LEFT), ("cat", 0.8, LEFT)]), mask=Mask.from_array(left))

    def with_masks(*arrays: np.ndarray) -> Evidence:
        masks = tuple(Mask.from_array(a) for a in arrays)
        return dataclasses.replace(e, detections=dataclasses.replace(e.detections, masks=masks))

    correct, swapped = with_masks(left, right), with_masks(right, left)
    assert (
        summarise_metric(metric_by_name["ap50"], [correct]).value
        == summarise_metric(metric_by_name["ap50"], [swapped]).value
    )
    assert summarise_metric(metric_by_name["mask_ap50"], [correct]).value == pytest.approx(1.0)
    assert summarise_metric(metric_by_name["mask_ap50"], [swapped]).value == pytest.approx(0.5)
    both = [dataclasses.replace(correct, seed=0), dataclasses.replace(swapped, seed=1)]
    weights = np.array([[1, 1], [2, 0], [0, 2]])
    resampled = metric_by_name["mask_ap50"].resampled_values(both, weights)
    assert resampled == pytest.approx([summarise_metric(metric_by_name["mask_ap50"], both).value, 1.0, 0.5])


def test_areas_are_in_pixels_of_the_canvas(make: Make, metric_by_name) -> None:
    small, large = (0.1, 0.1, 0.3, 0.3), (0.1, 0.1, 0.9, 0.9)
    e = make([("cat", small)], [("cat", 0.9, small), ("cat", 0.95, large)])
    by_size = {n: summarise_metric(metric_by_name[f"ap_{n}"], [e]) for n in ("small", "medium", "large")}
    # The large false positive lowers AP over all sizes, but not AP of small targets.
    assert by_size["small"].value == pytest.approx(1.0)
    assert summarise_metric(metric_by_name["ap"], [e]).value == pytest.approx(0.5)
    assert by_size["large"].value is None
    assert by_size["large"].unscored == {"no targets of this size": 1}
    assert metric_by_name["ap_large"].outcomes([e])[0].outcome == Unscored("no targets of this size")
    assert metric_by_name["ap_small"].outcomes([e])[0].outcome.value == pytest.approx(1.0)
    assert summarise_metric(metric_by_name["ar"], [e]).value == 1.0


@pytest.mark.parametrize("name", ["ap", "ap50", "ap_small", "ap_medium", "ar"])
def test_resampling_equals_physical_copies(name: str, random_evidence: RandomSet, metric_by_name) -> None:
    # On a canvas of 256 pixels, half of the boxes are small and half medium.
    evidence = [
        dataclasses.replace(e, sample=dataclasses.replace(e.sample, layout=Layout(Canvas(256, 256), instances)))
        for e in random_evidence(8, images=20)
        for instances in (e.sample.layout.instances,)
    ]
    rng = np.random.default_rng(1)
    weights = rng.multinomial(20, np.full(20, 0.05), size=4)
    resampled = metric_by_name[name].resampled_values(evidence, weights)
    for row, value in zip(weights, resampled, strict=True):
        copies = [
            dataclasses.replace(e, seed=100 * c + e.seed) for e, w in zip(evidence, row, strict=True) for c in range(w)
        ]
        expected = summarise_metric(metric_by_name[name], copies).value
        assert (None if np.isnan(value) else value) == (
            expected if expected is None else pytest.approx(expected, abs=1e-12)
        )
