"""Matches and tables equal those of pycocotools to the last bit, on crowded random images with many ties."""

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
from layoutmark.metrics.coco import (
    ALL_AREAS,
    MAX_DETECTIONS,
    MIN_RANKED_CONFIDENCE,
    RECALL_LEVELS,
    MatchedImages,
    accumulate,
    match_images,
)
from layoutmark.score import Status

AREAS = (ALL_AREAS, (0.0, 400.0), (400.0, 1600.0))
THRESHOLDS = (0.0, 0.3, 0.5, 0.75, 1.0)
NAMES = ("bus", "cat", "dog")
UNKNOWN = "kite"


def make_crowded_images(seed: int, has_ties: bool, masks: bool = False) -> list[Evidence]:
    """Images with up to six targets and 250 detections, half of them on targets.

    With `has_ties`, pixels are integers and scores coarse.
    """
    rng = np.random.default_rng(seed)
    images = []
    for image in rng.permutation(8 if masks else 14):
        canvas = Canvas(64, 48)
        targets = [str(rng.choice(NAMES)) for _ in range(rng.integers(0, 7))]
        boxes = [_box(rng, has_ties) for _ in targets]
        count = 250 if image == 0 else int(rng.choice([0, 3, 30]))
        labels = tuple(str(rng.choice([*NAMES, UNKNOWN], p=[0.7, 0.1, 0.1, 0.1])) for _ in range(count))
        corners = []
        for _ in range(count):
            is_near_target = boxes and rng.random() < 0.5
            box = boxes[rng.integers(len(boxes))] if is_near_target else _box(rng, has_ties)
            corners.append(box + (rng.integers(-1, 2, 4) if has_ties else rng.normal(0, 1, 4)) * (rng.random() < 0.7))
        scores = rng.random(count)
        scores = np.where(rng.random(count) < 0.1, 0.0005, np.round(scores, 1) if has_ties else scores)
        size = np.array([64, 48] * 2)
        instances = tuple(
            Instance(f"t{k}", "", name, Box(*(b / size)), mask=_mask(b) if masks else None)
            for k, (name, b) in enumerate(zip(targets, boxes, strict=True))
        )
        detections = Detections(
            np.array(corners).reshape(-1, 4) / size, scores, labels,
            tuple(None if rng.random() < 0.1 else _mask(b) for b in corners) if masks else None,
        )  # fmt: skip
        images.append(Evidence(Sample(f"s{image:02d}", "", Layout(canvas, instances)), 0, Status.OK, "", detections))
    return images


def _box(rng: np.random.Generator, has_ties: bool) -> np.ndarray:
    size, at = rng.uniform(4, 44, 2), rng.uniform(0, 1, 2)
    x, y = at * (np.array([64, 48]) - size)
    box = np.array([x, y, x + size[0], y + size[1]])
    return np.round(box) if has_ties else box


def _mask(box: np.ndarray) -> Mask:
    pixels = np.zeros((48, 64), dtype=bool)
    x0, y0, x1, y1 = np.round(box).astype(int)
    pixels[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
    return Mask.from_array(pixels)


def run_pycocotools(evidence: list[Evidence], masks: bool) -> Any:
    """The same images as annotations, evaluated by an unmodified `COCOeval`."""
    targets: list[dict] = []
    detections: list[dict] = []
    ordered = sorted(evidence, key=lambda e: e.sample.id)
    names = sorted({t.category for e in ordered for t in e.sample.layout.instances})
    for image, e in enumerate(ordered, start=1):
        size = np.array([e.sample.layout.canvas.width, e.sample.layout.canvas.height] * 2)
        image_detections = e.detections
        assert image_detections is not None
        sources: list[tuple[list[dict], Any, Any, Any, Any]] = [
            (targets, [t.category for t in e.sample.layout.instances], [t.box.xyxy for t in e.sample.layout.instances],
             [t.mask for t in e.sample.layout.instances], None),
            (detections, image_detections.labels, image_detections.boxes,
             image_detections.masks or [None] * len(image_detections), image_detections.scores),
        ]  # fmt: skip
        for records, labels, boxes, source_masks, scores in sources:
            for k, (label, box) in enumerate(zip(labels, boxes, strict=True)):
                if label not in names or (scores is not None and scores[k] < MIN_RANKED_CONFIDENCE):
                    continue
                if masks and source_masks[k] is None:
                    continue
                x0, y0, x1, y1 = (np.asarray(box) * size).tolist()
                record = {
                    "id": len(records) + 1, "image_id": image, "category_id": names.index(label) + 1, "iscrowd": 0,
                    "bbox": [x0, y0, x1 - x0, y1 - y0], "area": abs((x1 - x0) * (y1 - y0)),
                }  # fmt: skip
                if scores is not None:
                    record["score"] = float(scores[k])
                if masks:
                    record |= {"segmentation": source_masks[k].to_rle(), "area": source_masks[k].area}
                records.append(record)
    shared = {
        "images": [{"id": i, "width": 64, "height": 48} for i in range(1, len(ordered) + 1)],
        "categories": [{"id": k, "name": name} for k, name in enumerate(names, start=1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco_sets = [COCO(), COCO()]
        for coco_set, annotations in zip(coco_sets, (targets, detections), strict=True):
            coco_set.dataset = {**shared, "annotations": annotations}
            coco_set.createIndex()
        run = COCOeval(*coco_sets, "segm" if masks else "bbox")
        run.params.iouThrs, run.params.recThrs = np.array(THRESHOLDS), RECALL_LEVELS
        run.params.maxDets = [MAX_DETECTIONS]
        run.params.areaRng, run.params.areaRngLbl = [list(a) for a in AREAS], [str(a) for a in AREAS]
        run.evaluate()
        run.accumulate()
    return run


def concatenate_matches(run: Any, category: int, area: int) -> dict[str, np.ndarray]:
    """Pycocotools' matches of one category and area, concatenated over its images."""
    images = len(run.params.imgIds)
    start = (category * len(AREAS) + area) * images
    results = [e for e in run.evalImgs[start : start + images] if e is not None]
    return {
        "scores": np.concatenate([np.asarray(e["dtScores"], float) for e in results]),
        "matched": np.concatenate([e["dtMatches"] for e in results], axis=1) > 0,
        "ignored": np.concatenate([e["dtIgnore"] for e in results], axis=1) > 0,
        "target_in_area": np.concatenate([np.sort(e["gtIgnore"]) == 0 for e in results]),
        "image": np.concatenate([np.full(len(e["dtScores"]), e["image_id"] - 1) for e in results]),
    }


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("has_ties", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_matches_equal_those_of_pycocotools(seed: int, has_ties: bool, masks: bool) -> None:
    evidence = make_crowded_images(seed, has_ties, masks)
    run = run_pycocotools(evidence, masks)
    matched = match_images(evidence, THRESHOLDS, AREAS, masks)
    assert isinstance(matched, MatchedImages)
    totals: dict[str, int] = {"matched": 0, "ignored": 0}
    for category in range(len(matched.categories)):
        targets, detections = matched.category_slices(category)
        for area in range(len(AREAS)):
            expected, matches = concatenate_matches(run, category, area), matched.area_matches[area]
            np.testing.assert_array_equal(matched.scores[detections], expected["scores"])
            np.testing.assert_array_equal(matched.detections.image[detections], expected["image"])
            np.testing.assert_array_equal(matches.matched[:, detections], expected["matched"])
            np.testing.assert_array_equal(matches.ignored[:, detections], expected["ignored"])
            assert matches.target_in_area[targets].sum() == expected["target_in_area"].sum()
            totals["matched"] += int(expected["matched"].sum())
            totals["ignored"] += int((expected["ignored"] & expected["matched"]).sum())
    assert min(totals.values()) > 5, "the images must have matches, also with targets outside an area"
    counts = np.stack([matched.detections.image, matched.detections.category])
    assert np.unique(counts, axis=1, return_counts=True)[1].max() == MAX_DETECTIONS
    tables = accumulate(matched)
    for key in ("precision", "recall"):
        np.testing.assert_array_equal(tables[key], run.eval[key])


def test_detections_prefer_the_last_of_equal_targets_and_targets_inside_the_area() -> None:
    """Two targets share a box; a third, outside the area range, overlaps more than either."""
    small, large = Box(0.25, 0.25, 0.5, 0.5), Box(0.25, 0.25, 0.5, 0.625)
    instances = tuple(Instance(f"t{k}", "", "cat", box) for k, box in enumerate([large, small, small]))
    boxes = np.array([large.xyxy] * 4)
    detections = Detections(boxes, np.array([0.9, 0.8, 0.7, 0.6]), ("cat",) * 4)
    evidence = [Evidence(Sample("s", "", Layout(Canvas(64, 64), instances)), 0, Status.OK, "", detections)]
    matched = match_images(evidence, (0.5,), ((0.0, 16.0**2),))
    assert matched is not None
    assert matched.area_matches[0].matched.tolist() == [[True, True, True, False]]
    assert matched.area_matches[0].ignored.tolist() == [[False, False, True, True]]


def test_a_threshold_of_one_tolerates_rounding() -> None:
    box = Box(0.25, 0.25, 0.5, 0.5)
    detections = Detections(np.add([box.xyxy], [0, 0, 0, 1e-11]), np.array([0.9]), ("cat",))
    sample = Sample("s", "", Layout(Canvas(64, 64), (Instance("t", "", "cat", box),)))
    matched = match_images([Evidence(sample, 0, Status.OK, "", detections)], (1.0,))
    assert matched is not None
    assert matched.area_matches[0].matched.tolist() == [[True]]
