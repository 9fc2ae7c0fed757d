"""Turning pictures and layouts over, left to right, changes no metric of places, masks, points or scribbles."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Sample
from layoutmark.metrics import all_metrics, summarise
from layoutmark.score import Score, Status

SIDE = 64
SCORERS = {"detector": "d", "masks": "masks of all", "second_detector": "e", "second_detector/confidence": "0.25"}
METRICS = {m.info.name: m for m in all_metrics(SCORERS)}


def ellipse(box: tuple[float, ...]) -> Mask:
    """The pixels of the ellipse in a box, of which the middle is left out so that masks and boxes differ."""
    x0, y0, x1, y1 = box
    y, x = (np.indices((SIDE, SIDE)) + 0.5) / SIDE
    far = ((x - (x0 + x1) / 2) / ((x1 - x0) / 2)) ** 2 + ((y - (y0 + y1) / 2) / ((y1 - y0) / 2)) ** 2
    return Mask.from_array((far <= 1) & (far >= 0.05))


def images(count: int = 40) -> list[Evidence]:
    rng = np.random.default_rng(8)
    found = []
    for number in range(count):
        things, boxes, labels = [], [], []
        for k in range(1 + number % 3):
            low = rng.integers(0, 32, 2)
            corners = np.concatenate([low, low + rng.integers(12, 32, 2)]) / SIDE
            box = tuple(float(v) for v in corners)
            label = ("cat", "dog")[int(rng.integers(2))]
            line = tuple((float(x), float(y)) for x, y in rng.uniform(0.05, 0.95, (3, 2)))
            # Not on the edge of a pixel, which belongs to the pixel on its right, and turned over to the other one.
            middle = (float(corners[[0, 2]].mean()) + 0.003, float(corners[1] * 0.7 + corners[3] * 0.3))
            things.append(Instance(str(k), f"a {label}", label, Box(*box), ellipse(box), middle, line))
            for _ in range(int(rng.integers(0, 3))):
                moved = np.clip(corners + rng.integers(-4, 5, 4) / SIDE, 0, 1)
                boxes.append(moved if (moved[2:] - moved[:2]).min() > 0.1 else corners)
                labels.append(label)
        scores = rng.uniform(0.3, 1.0, len(boxes))
        shape = np.array(boxes).reshape(-1, 4)
        seen = Detections(shape, scores, tuple(labels), tuple(ellipse(tuple(b)) for b in shape))
        sample = Sample(f"s{number}", f"p{number}", Layout(Canvas(SIDE, SIDE), tuple(things)))
        second = Detections(shape[::2], scores[::2], tuple(labels[::2]))
        found.append(Evidence(sample, 0, Status.OK, "", seen, second=second))
    return found


def turned(mask: Mask | None) -> Mask | None:
    return None if mask is None else Mask.from_array(mask.array()[:, ::-1])


def seen_turned(seen: Detections | None) -> Detections | None:
    if seen is None:
        return None
    boxes = seen.boxes.copy()
    boxes[:, [0, 2]] = 1 - boxes[:, [2, 0]]
    return dataclasses.replace(seen, boxes=boxes, masks=seen.masks and tuple(turned(m) for m in seen.masks))


def mirrored(e: Evidence) -> Evidence:
    things = tuple(
        dataclasses.replace(
            i, box=i.box.flipped(), mask=turned(i.mask), point=i.point and (1 - i.point[0], i.point[1]),
            scribble=i.scribble and tuple((1 - x, y) for x, y in i.scribble),
        )
        for i in e.sample.layout.instances
    )  # fmt: skip
    sample = dataclasses.replace(e.sample, layout=Layout(e.sample.layout.canvas, things))
    return dataclasses.replace(e, sample=sample, detections=seen_turned(e.detections), second=seen_turned(e.second))


@pytest.mark.parametrize("name", METRICS)
def test_a_mirror_changes_nothing(name: str) -> None:
    metric: Metric = METRICS[name]
    plain = images()
    over = [mirrored(e) for e in plain]
    value = summarise(metric, plain).value
    assert summarise(metric, over).value == (None if value is None else pytest.approx(value, abs=1e-9))
    for a, b in zip(metric.outcomes(plain), metric.outcomes(over), strict=True):
        if isinstance(a.outcome, Score):
            assert isinstance(b.outcome, Score)
            assert b.outcome.value == pytest.approx(a.outcome.value, abs=1e-9)
        else:
            assert b.outcome == a.outcome


def test_the_cases_say_something() -> None:
    """Metrics of masks, points and scribbles have values strictly between the ends here, and see masks alone turned."""
    plain = images()
    for name in ("ap50", "mask_ap50", "mask_miou"):
        value = summarise(METRICS[name], plain).value
        assert value is not None
        assert 0.05 < value < 0.95, name
    half = [dataclasses.replace(mirrored(e), sample=e.sample) for e in plain]
    for name in ("ap50", "mask_ap50", "mask_miou"):
        assert summarise(METRICS[name], half).value != pytest.approx(summarise(METRICS[name], plain).value, abs=0.05)
