"""Oracle, success, precision, overlaps, points and masks: what is known by construction.  Twins: tests/validity."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Canvas, Layout, Mask
from layoutmark.metrics import all_metrics, summarise
from layoutmark.metrics.success import by_instance_count
from layoutmark.score import Outcome, Score, Status, Unscored

Make = Callable[..., Evidence]
RandomSet = Callable[..., list[Evidence]]
LEFT, RIGHT = (0.1, 0.1, 0.5, 0.5), (0.3, 0.1, 0.7, 0.5)


@pytest.fixture
def offered(scorers: dict[str, str]) -> dict[str, Any]:
    return {m.info.name: m for m in all_metrics({**scorers, "masks": "seg"})}


@pytest.fixture
def one(offered: dict[str, Any]) -> Callable[[str, Evidence], Outcome]:
    return lambda name, e: offered[name].outcomes([e])[0].outcome


def with_instance(e: Evidence, **changes: Any) -> Evidence:
    first, *others = e.sample.layout.instances
    layout = Layout(e.sample.layout.canvas, (dataclasses.replace(first, **changes), *others))
    return dataclasses.replace(e, sample=dataclasses.replace(e.sample, layout=layout))


def test_the_oracle_lets_one_detection_serve_two(make: Make, one) -> None:
    e = make([("cat", LEFT), ("cat", LEFT)], [("cat", 0.9, LEFT)])
    assert one("miou_oracle", e) == Score(1.0)
    assert one("miou", e) == Score(0.5)


def test_the_oracle_is_never_below_one_to_one(random_evidence: RandomSet, offered) -> None:
    evidence = random_evidence(2, images=30)
    pairs = [
        (a.outcome.value, b.outcome.value)
        for a, b in zip(offered["miou_oracle"].outcomes(evidence), offered["miou"].outcomes(evidence), strict=True)
        if isinstance(a.outcome, Score)
    ]
    assert all(a >= b for a, b in pairs)
    assert "oracle" in offered["miou_oracle"].info.variant


def test_success_is_all_or_nothing_and_precision_needs_detections(make: Make, one) -> None:
    half = make([("cat", LEFT), ("dog", RIGHT)], [("cat", 0.9, LEFT)])
    full = make([("cat", LEFT), ("dog", RIGHT)], [("cat", 0.9, LEFT), ("dog", 0.9, RIGHT), ("bus", 0.5, LEFT)])
    assert (one("success_rate", half), one("success_rate", full)) == (Score(0.0), Score(1.0))
    assert (one("precision50", half), one("precision50", full)) == (Score(1.0), Score(2 / 3))
    empty = make([("cat", LEFT)], [])
    assert (one("success_rate", empty), one("precision50", empty)) == (Score(0.0), Unscored("nothing detected"))
    assert one("success_rate", make([], [])) == Unscored("no targets")


def test_success_by_count_adds_up_to_the_whole(random_evidence: RandomSet, make: Make, offered) -> None:
    evidence = [*random_evidence(6, images=40), make([("cat", LEFT)], None, status=Status.FAILED)]
    outcomes = offered["success_rate"].outcomes(evidence)
    cells = by_instance_count(evidence, outcomes)
    assert list(cells) == sorted(cells)
    whole = summarise(offered["success_rate"], evidence)
    assert sum(c.of for c in cells.values()) == whole.of == 41
    assert sum(c.n for c in cells.values()) == whole.n
    assert sum(c.value * c.n for c in cells.values() if c.value is not None) == pytest.approx(whole.value * whole.n)
    assert cells[0].unscored == {"no targets": cells[0].of}
    assert cells[1].unscored == {"failed": 1}


def test_overlaps_drawn_apart_score_nothing(make: Make, one) -> None:
    targets = [("cat", LEFT), ("dog", RIGHT)]
    right = make(targets, [("cat", 0.9, LEFT), ("dog", 0.9, RIGHT)])
    apart = make(targets, [("cat", 0.9, (0.0, 0.1, 0.4, 0.5)), ("dog", 0.9, (0.4, 0.1, 0.8, 0.5))])
    lost = make(targets, [("cat", 0.9, LEFT)])
    assert [one("miou_overlap", e) for e in (right, apart, lost)] == [Score(1.0), Score(0.0), Score(0.0)]
    assert one("miou", apart).value == pytest.approx(0.6)
    alone = make([("cat", LEFT), ("dog", (0.5, 0.1, 0.9, 0.5))], [])
    assert one("miou_overlap", alone) == Unscored("no overlapping targets")


def test_points_and_scribbles_in_boxes(make: Make, one) -> None:
    e = with_instance(
        make([("cat", LEFT)], [("cat", 0.9, RIGHT)]), point=(0.2, 0.2), scribble=((0.2, 0.2), (0.4, 0.2), (0.3, 0.5))
    )
    assert one("point_in_box", e) == Score(0.0)
    assert one("scribble_in_box", e) == Score(2 / 3)
    assert one("point_in_box", with_instance(e, point=None)) == Unscored("no point asked for")
    assert one("scribble_in_box", dataclasses.replace(e, detections=make([], []).detections)) == Score(0.0)


def test_masks_are_asked_and_never_made_up(make: Make, one, scorers: dict[str, str]) -> None:
    of_masks = ("mask_miou", "mask_ap50", "point_in_mask", "scribble_in_mask")
    assert not {m.info.name for m in all_metrics(scorers)}.intersection(of_masks)
    grid = np.zeros((10, 20), bool)
    grid[1:5, 2:10] = True
    half = grid.copy()
    half[1:5, 2:6] = False
    e = with_instance(
        make([("cat", LEFT)], [("cat", 0.9, LEFT)]),
        mask=Mask.from_array(grid),
        point=(0.12, 0.2),
        scribble=((1.0, 1.0),),
    )
    for name in of_masks:
        assert one(name, e) == Unscored("no masks stored")

    def seen(mask: np.ndarray) -> Evidence:
        return dataclasses.replace(e, detections=dataclasses.replace(e.detections, masks=(Mask.from_array(mask),)))

    assert [one("mask_miou", seen(m)) for m in (grid, half, ~grid)] == [Score(1.0), Score(0.5), Score(0.0)]
    assert [one("point_in_mask", seen(m)) for m in (grid, half)] == [Score(1.0), Score(0.0)]
    assert [one("scribble_in_mask", seen(m)) for m in (grid, ~grid)] == [Score(0.0), Score(1.0)]
    assert [one("mask_ap50", seen(m)).value for m in (grid, half, ~grid)] == pytest.approx([1.0, 1.0, 0.0])
    for name in ("mask_miou", "mask_ap50"):
        with pytest.raises(LayoutmarkError) as caught:
            one(name, seen(np.ones((5, 5), bool)))
        assert str(caught.value) == (
            "masks of sample 's': found 5 x 5 detected, 10 x 20 asked for; expected one grid. "
            "Store detected masks on the grid of the layout's canvas."
        )
    without = dataclasses.replace(e, detections=dataclasses.replace(e.detections, masks=(None,)))
    for name in ("mask_miou", "point_in_mask", "scribble_in_mask"):
        assert one(name, without) == Unscored("no mask of the detection stored")
    # Ranked detections without a mask do not take part, as the name says; the target is then not found.
    assert one("mask_ap50", without) == Score(0.0)
    nothing = dataclasses.replace(e, detections=Detections(np.empty((0, 4)), np.empty(0), (), ()))
    for name in of_masks:
        assert one(name, nothing) == Score(0.0)
    assert one("mask_ap50", with_instance(seen(grid), mask=None)) == Unscored("no mask asked for")


def test_average_precision_of_masks_is_of_masks_and_of_the_set(make: Make, offered) -> None:
    """Two targets share one box, so only their masks tell the detections apart; a mask alone may tell."""
    left, right = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    left[1:5, 1:3], right[1:5, 3:5] = True, True
    e = with_instance(make([("cat", LEFT)], [("cat", 0.9, LEFT), ("cat", 0.8, LEFT)]), mask=Mask.from_array(left))

    def masked(*arrays: np.ndarray) -> Evidence:
        held = tuple(Mask.from_array(a) for a in arrays)
        return dataclasses.replace(e, detections=dataclasses.replace(e.detections, masks=held))

    best, second = masked(left, right), masked(right, left)
    assert summarise(offered["ap50"], [best]).value == summarise(offered["ap50"], [second]).value
    assert summarise(offered["mask_ap50"], [best]).value == pytest.approx(1.0)
    assert summarise(offered["mask_ap50"], [second]).value == pytest.approx(0.5)
    whole = [dataclasses.replace(best, seed=0), dataclasses.replace(second, seed=1)]
    weights = np.array([[1, 1], [2, 0], [0, 2]])
    drawn = offered["mask_ap50"].resampled(whole, weights)
    assert drawn == pytest.approx([summarise(offered["mask_ap50"], whole).value, 1.0, 0.5])


def test_areas_are_those_of_the_canvas(make: Make, offered) -> None:
    small, large = (0.1, 0.1, 0.3, 0.3), (0.1, 0.1, 0.9, 0.9)
    e = make([("cat", small)], [("cat", 0.9, small), ("cat", 0.95, large)])
    found = {n: summarise(offered[f"ap_{n}"], [e]) for n in ("small", "medium", "large")}
    # The large false detection costs where targets of every size count, not among the small.
    assert found["small"].value == pytest.approx(1.0)
    assert summarise(offered["ap"], [e]).value == pytest.approx(0.5)
    assert found["large"].value is None
    assert found["large"].unscored == {"no targets of this size": 1}
    assert offered["ap_large"].outcomes([e])[0].outcome == Unscored("no targets of this size")
    assert offered["ap_small"].outcomes([e])[0].outcome.value == pytest.approx(1.0)
    assert summarise(offered["ar"], [e]).value == 1.0


@pytest.mark.parametrize("name", ["ap", "ap50", "ap_small", "ap_medium", "ar"])
def test_sizes_and_recall_resample_like_physical_copies(name: str, random_evidence: RandomSet, offered) -> None:
    # On a canvas of 256 pixels half of the boxes are small and half medium, so each size leaves the others out.
    evidence = [
        dataclasses.replace(e, sample=dataclasses.replace(e.sample, layout=Layout(Canvas(256, 256), things)))
        for e in random_evidence(8, images=20)
        for things in (e.sample.layout.instances,)
    ]
    rng = np.random.default_rng(1)
    weights = rng.multinomial(20, np.full(20, 0.05), size=4)
    drawn = offered[name].resampled(evidence, weights)
    for row, value in zip(weights, drawn, strict=True):
        copies = [
            dataclasses.replace(e, seed=100 * c + e.seed) for e, w in zip(evidence, row, strict=True) for c in range(w)
        ]
        expected = summarise(offered[name], copies).value
        assert (None if np.isnan(value) else value) == (
            expected if expected is None else pytest.approx(expected, abs=1e-12)
        )
