"""Mean IoU as an oracle would choose: each target takes the best box of its kind, whatever else that box serves.

Several public benchmarks report this as mIoU (protocol of COCO-MIG and others).  It is never below the one-to-one
`miou` and is offered only so that their figures can be read beside ours; the name says what it is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.layout import box_iou
from layoutmark.metrics.aggregation import mean_of_instances
from layoutmark.metrics.matching import CONFIDENCE
from layoutmark.metrics.miou import MatchMetric
from layoutmark.score import Direction, MetricInfo, Score


def oracle_iou(evidence: Evidence, detections: Detections) -> SampleOutcome:
    """Each instance's greatest IoU with any detection of its category, 0 without one; the image is their mean."""
    layout = evidence.sample.layout
    wanted = np.array([i.category for i in layout.instances], dtype=object)
    seen = np.array(detections.labels, dtype=object)
    allowed = (wanted[:, None] == seen[None, :]) & (detections.scores >= CONFIDENCE)[None, :]
    best = np.where(allowed, box_iou(layout.boxes(), detections.boxes), 0.0).max(axis=1, initial=0.0)
    return mean_of_instances(evidence, [Score(float(v)) for v in best])


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`miou_oracle`, where there is a detector."""
    if "detector" not in scorers:
        return ()
    how = f"box, oracle: best IoU within category, not one-to-one, conf>={CONFIDENCE}, detector {scorers['detector']}"
    info = MetricInfo(
        "miou_oracle", f"miou_oracle[{how}, unmatched=0]", "mIoU, oracle", "IoU", Direction.HIGHER, 0.0, 1.0, "1"
    )
    return (MatchMetric(info, oracle_iou),)
