"""Is a thing where a point or a scribble says?  Against the detected mask where there are masks, else against the box.

Points in mask and scribbles in mask are the measures of InstanceDiffusion (Wang et al., CVPR 2024).  A box is a
weaker test, and the names keep the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.layout import Instance, Point
from layoutmark.metrics.aggregation import mean_of_instances
from layoutmark.metrics.mask_miou import NO_MASK, NO_MASKS
from layoutmark.metrics.matching import CONFIDENCE, likeliest
from layoutmark.metrics.miou import MatchMetric
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

Inside = Callable[[Detections, int, Sequence[Point]], float]
"""The share of points that lie inside a detection, by its index."""


def in_box(detections: Detections, index: int, points: Sequence[Point]) -> float:
    """Share of the points inside the box, its border included."""
    at, box = np.array(points), detections.boxes[index]
    return float(((at >= box[:2]) & (at <= box[2:])).all(axis=1).mean())


def in_mask(detections: Detections, index: int, points: Sequence[Point]) -> float:
    """Share of the points whose pixel of the mask's grid is set."""
    assert detections.masks is not None
    mask = detections.masks[index]
    assert mask is not None
    grid = mask.array()
    height, width = grid.shape
    at = np.minimum(np.array(points) * (width, height), (width - 1, height - 1)).astype(np.intp)
    return float(grid[at[:, 1], at[:, 0]].mean())


def score(part: str, inside: Inside, evidence: Evidence, detections: Detections) -> SampleOutcome:
    """Each instance's share of points inside the detection taken for it, 0 without one; the image is their mean."""
    taken = likeliest(evidence.sample.layout, detections)
    masked = inside is not in_mask or detections.masks is not None

    def outcome(instance: Instance, index: int) -> Outcome:
        points = _marks(instance, part)
        if not points:
            return Unscored(f"no {part} asked for")
        if not masked:
            return Unscored(NO_MASKS)
        if inside is in_mask and index >= 0 and detections.masks is not None and detections.masks[index] is None:
            return Unscored(NO_MASK)
        return Score(inside(detections, index, points) if index >= 0 else 0.0)

    pairs = zip(evidence.sample.layout.instances, taken, strict=True)
    return mean_of_instances(evidence, [outcome(instance, int(j)) for instance, j in pairs])


def _marks(instance: Instance, part: str) -> tuple[Point, ...]:
    if part == "scribble":
        return instance.scribble or ()
    return () if instance.point is None else (instance.point,)


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`point_in_box` and `scribble_in_box` with a detector; the same in masks if detections have ``masks``."""
    if "detector" not in scorers:
        return ()
    how = f"one-to-one by generalised IoU within category, conf>={CONFIDENCE}, unmatched=0"
    kinds: list[tuple[str, Inside, str]] = [("box", in_box, scorers["detector"])]
    if "masks" in scorers:
        kinds.append(("mask", in_mask, f"{scorers['detector']}, {scorers['masks']}"))
    found = []
    for where, inside, model in kinds:
        for part, title in (("point", "Points"), ("scribble", "Scribbles")):
            name = f"{part}_in_{where}"
            variant = f"{name}[{how}, detector {model}]"
            info = MetricInfo(name, variant, f"{title} in {where}", "share", Direction.HIGHER, 0.0, 1.0, "1")
            found.append(MatchMetric(info, partial(score, part, inside)))
    return tuple(found)
