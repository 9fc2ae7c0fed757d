"""Matches and tables against pycocotools itself, to the last bit, on crowded random sets full of ties."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Sample
from layoutmark.metrics.coco import CONFIDENCE, EVERY_AREA, MAX_DETECTIONS, RECALLS, Matched, accumulated, match
from layoutmark.score import Status

AREAS = (EVERY_AREA, (0.0, 400.0), (400.0, 1600.0))
THRESHOLDS = (0.0, 0.3, 0.5, 0.75, 1.0)
NAMES = ("bus", "cat", "dog")
UNKNOWN = "kite"


def crowded(seed: int, whole: bool, masks: bool = False) -> list[Evidence]:
    """Images with up to six targets and 250 detections, half on targets; `whole` pixels and coarse scores make ties."""
    rng = np.random.default_rng(seed)
    found = []
    for number in rng.permutation(8 if masks else 14):
        canvas = Canvas(64, 48)
        targets = [str(rng.choice(NAMES)) for _ in range(rng.integers(0, 7))]
        boxes = [_box(rng, whole) for _ in targets]
        count = 250 if number == 0 else int(rng.choice([0, 3, 30]))
        labels = tuple(str(rng.choice([*NAMES, UNKNOWN], p=[0.7, 0.1, 0.1, 0.1])) for _ in range(count))
        placed = []
        for _ in range(count):
            near = boxes and rng.random() < 0.5
            box = boxes[rng.integers(len(boxes))] if near else _box(rng, whole)
            placed.append(box + (rng.integers(-1, 2, 4) if whole else rng.normal(0, 1, 4)) * (rng.random() < 0.7))
        scores = rng.random(count)
        scores = np.where(rng.random(count) < 0.1, 0.0005, np.round(scores, 1) if whole else scores)
        size = np.array([64, 48] * 2)
        instances = tuple(
            Instance(f"t{k}", "", name, Box(*(b / size)), mask=_mask(b) if masks else None)
            for k, (name, b) in enumerate(zip(targets, boxes, strict=True))
        )
        seen = Detections(
            np.array(placed).reshape(-1, 4) / size, scores, labels,
            tuple(None if rng.random() < 0.1 else _mask(b) for b in placed) if masks else None,
        )  # fmt: skip
        found.append(Evidence(Sample(f"s{number:02d}", "", Layout(canvas, instances)), 0, Status.OK, "", seen))
    return found


def _box(rng: np.random.Generator, whole: bool) -> np.ndarray:
    size, at = rng.uniform(4, 44, 2), rng.uniform(0, 1, 2)
    x, y = at * (np.array([64, 48]) - size)
    box = np.array([x, y, x + size[0], y + size[1]])
    return np.round(box) if whole else box


def _mask(box: np.ndarray) -> Mask:
    pixels = np.zeros((48, 64), dtype=bool)
    x0, y0, x1, y1 = np.round(box).astype(int)
    pixels[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
    return Mask.from_array(pixels)


def by_pycocotools(evidence: list[Evidence], masks: bool) -> Any:
    """The same set as annotations, evaluated by `COCOeval` with nothing of it replaced."""
    truth: list[dict] = []
    found: list[dict] = []
    ordered = sorted(evidence, key=lambda e: e.sample.id)
    names = sorted({t.category for e in ordered for t in e.sample.layout.instances})
    for image, e in enumerate(ordered, start=1):
        size = np.array([e.sample.layout.canvas.width, e.sample.layout.canvas.height] * 2)
        held = e.detections
        assert held is not None
        sides: list[tuple[list[dict], Any, Any, Any, Any]] = [
            (truth, [t.category for t in e.sample.layout.instances], [t.box.xyxy for t in e.sample.layout.instances],
             [t.mask for t in e.sample.layout.instances], None),
            (found, held.labels, held.boxes, held.masks or [None] * len(held), held.scores),
        ]  # fmt: skip
        for side, labels, boxes, held_masks, scores in sides:
            for k, (label, box) in enumerate(zip(labels, boxes, strict=True)):
                if label not in names or (scores is not None and scores[k] < CONFIDENCE):
                    continue
                if masks and held_masks[k] is None:
                    continue
                x0, y0, x1, y1 = (np.asarray(box) * size).tolist()
                one = {"id": len(side) + 1, "image_id": image, "category_id": names.index(label) + 1, "iscrowd": 0,
                       "bbox": [x0, y0, x1 - x0, y1 - y0], "area": abs((x1 - x0) * (y1 - y0))}  # fmt: skip
                if scores is not None:
                    one["score"] = float(scores[k])
                if masks:
                    one |= {"segmentation": held_masks[k].rle(), "area": held_masks[k].area}
                side.append(one)
    shared = {
        "images": [{"id": i, "width": 64, "height": 48} for i in range(1, len(ordered) + 1)],
        "categories": [{"id": k, "name": name} for k, name in enumerate(names, start=1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco = [COCO(), COCO()]
        for one_side, annotations in zip(coco, (truth, found), strict=True):
            one_side.dataset = {**shared, "annotations": annotations}
            one_side.createIndex()
        run = COCOeval(*coco, "segm" if masks else "bbox")
        run.params.iouThrs, run.params.recThrs = np.array(THRESHOLDS), RECALLS
        run.params.maxDets = [MAX_DETECTIONS]
        run.params.areaRng, run.params.areaRngLbl = [list(a) for a in AREAS], [str(a) for a in AREAS]
        run.evaluate()
        run.accumulate()
    return run


def joined(run: Any, category: int, area: int) -> dict[str, np.ndarray]:
    """Pycocotools' matches of one category and area, its images one after another."""
    images = len(run.params.imgIds)
    first = (category * len(AREAS) + area) * images
    found = [e for e in run.evalImgs[first : first + images] if e is not None]
    return {
        "scores": np.concatenate([np.asarray(e["dtScores"], float) for e in found]),
        "matched": np.concatenate([e["dtMatches"] for e in found], axis=1) > 0,
        "aside": np.concatenate([e["dtIgnore"] for e in found], axis=1) > 0,
        "counts": np.concatenate([np.sort(e["gtIgnore"]) == 0 for e in found]),
        "image": np.concatenate([np.full(len(e["dtScores"]), e["image_id"] - 1) for e in found]),
    }


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_matches_are_those_of_pycocotools(seed: int, whole: bool, masks: bool) -> None:
    evidence = crowded(seed, whole, masks)
    run = by_pycocotools(evidence, masks)
    found = match(evidence, THRESHOLDS, AREAS, masks)
    assert isinstance(found, Matched)
    told: dict[str, int] = {"matched": 0, "aside": 0}
    for category in range(len(found.categories)):
        targets, seen = found.of_category(category)
        for area in range(len(AREAS)):
            expected, held = joined(run, category, area), found.found[area]
            np.testing.assert_array_equal(found.scores[seen], expected["scores"])
            np.testing.assert_array_equal(found.detections.image[seen], expected["image"])
            np.testing.assert_array_equal(held.matched[:, seen], expected["matched"])
            np.testing.assert_array_equal(held.aside[:, seen], expected["aside"])
            assert held.counts[targets].sum() == expected["counts"].sum()
            told["matched"] += int(expected["matched"].sum())
            told["aside"] += int((expected["aside"] & expected["matched"]).sum())
    assert min(told.values()) > 5, "the set must have matches, also with targets outside an area"
    counts = np.stack([found.detections.image, found.detections.category])
    assert np.unique(counts, axis=1, return_counts=True)[1].max() == MAX_DETECTIONS
    tables = accumulated(found)
    for key in ("precision", "recall"):
        np.testing.assert_array_equal(tables[key], run.eval[key])


def test_a_detection_takes_the_last_of_equal_targets_and_one_outside_the_area_only_if_it_must() -> None:
    """Two targets share a box; a third, outside the area, has more overlap than either."""
    small, large = Box(0.25, 0.25, 0.5, 0.5), Box(0.25, 0.25, 0.5, 0.625)
    instances = tuple(Instance(f"t{k}", "", "cat", box) for k, box in enumerate([large, small, small]))
    boxes = np.array([large.xyxy] * 4)
    seen = Detections(boxes, np.array([0.9, 0.8, 0.7, 0.6]), ("cat",) * 4)
    evidence = [Evidence(Sample("s", "", Layout(Canvas(64, 64), instances)), 0, Status.OK, "", seen)]
    found = match(evidence, (0.5,), ((0.0, 16.0**2),))
    assert found is not None
    assert found.found[0].matched.tolist() == [[True, True, True, False]]
    assert found.found[0].aside.tolist() == [[False, False, True, True]]


def test_a_threshold_of_one_lets_rounding_pass() -> None:
    box = Box(0.25, 0.25, 0.5, 0.5)
    seen = Detections(np.add([box.xyxy], [0, 0, 0, 1e-11]), np.array([0.9]), ("cat",))
    sample = Sample("s", "", Layout(Canvas(64, 64), (Instance("t", "", "cat", box),)))
    found = match([Evidence(sample, 0, Status.OK, "", seen)], (1.0,))
    assert found is not None
    assert found.found[0].matched.tolist() == [[True]]
