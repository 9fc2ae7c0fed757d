"""Is an object where its point or scribble lies? Judged by the detection's mask if there is one, and by its box.

Points in masks and scribbles in masks are measures of InstanceDiffusion (Wang et al., CVPR 2024). A box is a weaker
test, and the metric names keep the two apart.
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
from layoutmark.metrics.matching import MIN_CONFIDENCE, match_nearest
from layoutmark.metrics.miou import MatchMetric
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

InsideShareFn = Callable[[Detections, int, Sequence[Point]], float]
"""The share of points that lie inside a detection, given by its index."""


def share_in_box(detections: Detections, index: int, points: Sequence[Point]) -> float:
    """Share of the points that lie inside the detection's box or on its border.

    >>> from layoutmark.metrics.examples import example_image
    >>> share_in_box(example_image(detections={"cat": (0.0, 0.0, 0.5, 0.5)}).detections, 0, [(0.5, 0.5), (0.9, 0.5)])
    0.5
    """
    positions, box = np.array(points), detections.boxes[index]
    return float(((positions >= box[:2]) & (positions <= box[2:])).all(axis=1).mean())


def share_in_mask(detections: Detections, index: int, points: Sequence[Point]) -> float:
    """Share of the points that lie on a set pixel of the detection's mask.

    >>> from layoutmark.metrics.examples import example_image, example_mask
    >>> image = example_image(detections={"cat": (0.0, 0.0, 0.5, 0.5)}, masks=[example_mask(0, 0, 32, 32)])
    >>> share_in_mask(image.detections, 0, [(0.4, 0.4), (0.9, 0.4)])
    0.5
    """
    assert detections.masks is not None
    mask = detections.masks[index]
    assert mask is not None
    pixels = mask.to_array()
    height, width = pixels.shape
    cells = np.minimum(np.array(points) * (width, height), (width - 1, height - 1)).astype(np.intp)
    return float(pixels[cells[:, 1], cells[:, 0]].mean())


def score_marks(kind: str, share_fn: InsideShareFn, evidence: Evidence, detections: Detections) -> SampleOutcome:
    """Mean over instances of the share of their points inside the nearest detection, 0 without one; range [0, 1].

    Args:
        kind: ``point`` or ``scribble``.
        share_fn: `share_in_box` or `share_in_mask`.
        evidence: The image.
        detections: Its detections.

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image(detections={"cat": (0.0, 0.0, 0.5, 0.5)}, instance={"point": (0.2, 0.2)})
    >>> score_marks("point", share_in_box, image, image.detections).outcome
    Score(value=1.0)
    """
    nearest = match_nearest(evidence.sample.layout, detections)
    needs_masks = share_fn is share_in_mask

    def outcome(instance: Instance, index: int) -> Outcome:
        points = _points(instance, kind)
        if not points:
            return Unscored(f"no {kind} asked for")
        if needs_masks and detections.masks is None:
            return Unscored(NO_MASKS)
        if needs_masks and index >= 0 and detections.masks is not None and detections.masks[index] is None:
            return Unscored(NO_MASK)
        return Score(share_fn(detections, index, points) if index >= 0 else 0.0)

    pairs = zip(evidence.sample.layout.instances, nearest, strict=True)
    return mean_of_instances(evidence, [outcome(instance, int(j)) for instance, j in pairs])


def _points(instance: Instance, kind: str) -> tuple[Point, ...]:
    if kind == "scribble":
        return instance.scribble or ()
    return () if instance.point is None else (instance.point,)


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`point_in_box` and `scribble_in_box` if there is a detector; the same in masks if detections have ``masks``.

    >>> [metric.info.name for metric in metrics({"detector": "yolo"})]
    ['point_in_box', 'scribble_in_box']
    """
    if "detector" not in scorers:
        return ()
    how = f"one-to-one by generalised IoU within category, conf>={MIN_CONFIDENCE}, unmatched=0"
    regions: list[tuple[str, InsideShareFn, str]] = [("box", share_in_box, scorers["detector"])]
    if "masks" in scorers:
        regions.append(("mask", share_in_mask, f"{scorers['detector']}, {scorers['masks']}"))
    offered = []
    for region, share_fn, model in regions:
        for kind, title in (("point", "Points"), ("scribble", "Scribbles")):
            name = f"{kind}_in_{region}"
            variant = f"{name}[{how}, detector {model}]"
            info = MetricInfo(name, variant, f"{title} in {region}", "share", Direction.HIGHER, 0.0, 1.0, "1")
            offered.append(MatchMetric(info, partial(score_marks, kind, share_fn)))
    return tuple(offered)
