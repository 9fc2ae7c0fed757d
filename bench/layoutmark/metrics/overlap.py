"""Is the place where two targets overlap right too?  Mean IoU of intersections, after the O-mIoU of OverLayBench.

A method may draw two overlapping things apart and still earn a fair mean IoU; what they share is then empty.
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
from layoutmark.metrics.matching import CONFIDENCE, assign
from layoutmark.metrics.miou import MatchMetric
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

NO_OVERLAP = "no overlapping targets"


def overlap_iou(evidence: Evidence, detections: Detections) -> SampleOutcome:
    """Per two overlapping targets: IoU of their intersection with that of the detections assigned to them, else 0."""
    layout = evidence.sample.layout
    boxes, matched = layout.boxes(), assign(layout, detections, box_iou, CONFIDENCE)
    values = []
    for i, j in combinations(range(len(boxes)), 2):
        wanted = _intersection(boxes[i], boxes[j])
        if wanted is None:
            continue
        pair = matched[i], matched[j]
        found = None if min(pair) < 0 else _intersection(*(detections.boxes[k] for k in pair))
        values.append(0.0 if found is None else float(box_iou(wanted[None], found[None])[0, 0]))
    outcome: Outcome = Score(math.fsum(values) / len(values)) if values else Unscored(NO_OVERLAP)
    return SampleOutcome(evidence.sample.id, evidence.seed, outcome)


def _intersection(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    """The box (4,) that two boxes share, or None if it has no area."""
    shared = np.concatenate([np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])])
    return shared if (shared[2:] > shared[:2]).all() else None


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`miou_overlap`, where there is a detector."""
    if "detector" not in scorers:
        return ()
    how = f"intersections of overlapping targets, one-to-one within category, conf>={CONFIDENCE}"
    variant = f"miou_overlap[{how}, detector {scorers['detector']}, unmatched=0]"
    info = MetricInfo("miou_overlap", variant, "mIoU of overlaps", "IoU", Direction.HIGHER, 0.0, 1.0, "1")
    return (MatchMetric(info, overlap_iou),)
