"""Mirroring images and layouts left to right changes no metric of boxes, masks, points or scribbles."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Sample
from layoutmark.metrics import all_metrics, summarise_metric
from layoutmark.score import Score, Status

SIDE = 64
SCORERS = {"detector": "d", "masks": "masks of all", "second_detector": "e", "second_detector/confidence": "0.25"}
METRICS = {m.info.name: m for m in all_metrics(SCORERS)}


def ring_mask(box: tuple[float, ...]) -> Mask:
    """The ellipse inscribed in a box, without its centre, so that masks and boxes differ."""
    x0, y0, x1, y1 = box
    y, x = (np.indices((SIDE, SIDE)) + 0.5) / SIDE
    distance = ((x - (x0 + x1) / 2) / ((x1 - x0) / 2)) ** 2 + ((y - (y0 + y1) / 2) / ((y1 - y0) / 2)) ** 2
    return Mask.from_array((distance <= 1) & (distance >= 0.05))


def make_images(count: int = 40) -> list[Evidence]:
    rng = np.random.default_rng(8)
    images = []
    for image_number in range(count):
        instances, boxes, labels = [], [], []
        for k in range(1 + image_number % 3):
            low = rng.integers(0, 32, 2)
            corners = np.concatenate([low, low + rng.integers(12, 32, 2)]) / SIDE
            box = tuple(float(v) for v in corners)
            label = ("cat", "dog")[int(rng.integers(2))]
            scribble = tuple((float(x), float(y)) for x, y in rng.uniform(0.05, 0.95, (3, 2)))
            # Not on a pixel boundary, which belongs to the pixel on its right, and to the other one once mirrored.
            point = (float(corners[[0, 2]].mean()) + 0.003, float(corners[1] * 0.7 + corners[3] * 0.3))
            instances.append(Instance(str(k), f"a {label}", label, Box(*box), ring_mask(box), point, scribble))
            for _ in range(int(rng.integers(0, 3))):
                moved = np.clip(corners + rng.integers(-4, 5, 4) / SIDE, 0, 1)
                boxes.append(moved if (moved[2:] - moved[:2]).min() > 0.1 else corners)
                labels.append(label)
        scores = rng.uniform(0.3, 1.0, len(boxes))
        box_array = np.array(boxes).reshape(-1, 4)
        detections = Detections(box_array, scores, tuple(labels), tuple(ring_mask(tuple(b)) for b in box_array))
        sample = Sample(f"s{image_number}", f"p{image_number}", Layout(Canvas(SIDE, SIDE), tuple(instances)))
        second_detections = Detections(box_array[::2], scores[::2], tuple(labels[::2]))
        images.append(Evidence(sample, 0, Status.OK, "", detections, second_detections=second_detections))
    return images


def mirror_mask(mask: Mask | None) -> Mask | None:
    return None if mask is None else Mask.from_array(mask.to_array()[:, ::-1])


def mirror_detections(detections: Detections | None) -> Detections | None:
    if detections is None:
        return None
    boxes = detections.boxes.copy()
    boxes[:, [0, 2]] = 1 - boxes[:, [2, 0]]
    return dataclasses.replace(
        detections, boxes=boxes, masks=detections.masks and tuple(mirror_mask(m) for m in detections.masks)
    )


def mirror(e: Evidence) -> Evidence:
    instances = tuple(
        dataclasses.replace(
            i, box=i.box.flipped(), mask=mirror_mask(i.mask), point=i.point and (1 - i.point[0], i.point[1]),
            scribble=i.scribble and tuple((1 - x, y) for x, y in i.scribble),
        )
        for i in e.sample.layout.instances
    )  # fmt: skip
    sample = dataclasses.replace(e.sample, layout=Layout(e.sample.layout.canvas, instances))
    return dataclasses.replace(
        e,
        sample=sample,
        detections=mirror_detections(e.detections),
        second_detections=mirror_detections(e.second_detections),
    )


@pytest.mark.parametrize("name", METRICS)
def test_mirroring_changes_nothing(name: str) -> None:
    metric: Metric = METRICS[name]
    images = make_images()
    mirrored = [mirror(e) for e in images]
    value = summarise_metric(metric, images).value
    assert summarise_metric(metric, mirrored).value == (None if value is None else pytest.approx(value, abs=1e-9))
    for a, b in zip(metric.outcomes(images), metric.outcomes(mirrored), strict=True):
        if isinstance(a.outcome, Score):
            assert isinstance(b.outcome, Score)
            assert b.outcome.value == pytest.approx(a.outcome.value, abs=1e-9)
        else:
            assert b.outcome == a.outcome


def test_mirrored_test_cases_are_not_degenerate() -> None:
    """The values are not extreme, and mirroring only the detections changes them."""
    images = make_images()
    for name in ("ap50", "mask_ap50", "mask_miou"):
        value = summarise_metric(METRICS[name], images).value
        assert value is not None
        assert 0.05 < value < 0.95, name
    with_mirrored_detections = [dataclasses.replace(mirror(e), sample=e.sample) for e in images]
    for name in ("ap50", "mask_ap50", "mask_miou"):
        assert summarise_metric(METRICS[name], with_mirrored_detections).value != pytest.approx(
            summarise_metric(METRICS[name], images).value, abs=0.05
        )
