"""Is the region right where two targets overlap? Mean IoU of intersections, after the O-mIoU of OverLayBench.

A method may draw two overlapping objects apart and still reach a fair mean IoU; the region they should share is then
empty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import numpy.typing as npt

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.layout import box_iou
from layoutmark.metrics.matching import MIN_CONFIDENCE, assign
from layoutmark.metrics.miou import MatchMetric
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

NO_OVERLAP = "no overlapping targets"


def overlap_iou(evidence: Evidence, detections: Detections) -> SampleOutcome:
    """Mean over pairs of overlapping targets of the IoU of two intersections; range [0, 1].

    The intersection of the two targets is compared with that of the detections assigned to them; the IoU is 0 if a
    detection is missing or the two do not intersect.

    >>> from layoutmark.metrics.examples import example_image
    >>> targets = {"cat": (0.0, 0.0, 0.6, 0.5), "dog": (0.4, 0.0, 1.0, 0.5)}
    >>> image = example_image(targets, {"cat": (0.0, 0.0, 0.5, 0.5), "dog": (0.4, 0.0, 1.0, 0.5)})
    >>> round(overlap_iou(image, image.detections).outcome.value, 3)
    0.5
    """
    layout = evidence.sample.layout
    targets, assigned = layout.boxes(), assign(layout, detections, box_iou, MIN_CONFIDENCE)
    ious = []
    for i, j in combinations(range(len(targets)), 2):
        target_overlap = _intersection(targets[i], targets[j])
        if target_overlap is None:
            continue
        pair = assigned[i], assigned[j]
        detected_overlap = None if min(pair) < 0 else _intersection(*(detections.boxes[k] for k in pair))
        ious.append(
            0.0 if detected_overlap is None else float(box_iou(target_overlap[None], detected_overlap[None])[0, 0])
        )
    outcome: Outcome = Score(math.fsum(ious) / len(ious)) if ious else Unscored(NO_OVERLAP)
    return SampleOutcome(evidence.sample.id, evidence.seed, outcome)


def _intersection(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    """The intersection (4,) of two boxes, or None if it has no area."""
    box = np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])])
    return box if (box[2:] > box[:2]).all() else None


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`miou_overlap`, if there is a detector.

    >>> [metric.info.name for metric in metrics({"detector": "yolo"})]
    ['miou_overlap']
    """
    if "detector" not in scorers:
        return ()
    how = f"intersections of overlapping targets, one-to-one within category, conf>={MIN_CONFIDENCE}"
    variant = f"miou_overlap[{how}, detector {scorers['detector']}, unmatched=0]"
    info = MetricInfo("miou_overlap", variant, "mIoU of overlaps", "IoU", Direction.HIGHER, 0.0, 1.0, "1")
    return (MatchMetric(info, overlap_iou),)
