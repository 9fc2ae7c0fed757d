"""Mean IoU with an oracle's matching: each target takes the best box of its category, even if that box is shared.

Several public benchmarks (COCO-MIG and others) report this as mIoU. It is never below the one-to-one `miou` and is
offered only so that their figures can be compared with ours.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.layout import box_iou
from layoutmark.metrics.aggregation import mean_of_instances
from layoutmark.metrics.matching import MIN_CONFIDENCE
from layoutmark.metrics.miou import MatchMetric
from layoutmark.score import Direction, MetricInfo, Score


def oracle_iou(evidence: Evidence, detections: Detections) -> SampleOutcome:
    """Mean over instances of the largest IoU with any detection of their category, 0 without one; range [0, 1].

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image({"cat": (0.0, 0.0, 0.5, 0.5)}, {"cat": (0.0, 0.0, 0.5, 0.25)})
    >>> oracle_iou(image, image.detections).outcome
    Score(value=0.5)
    """
    layout = evidence.sample.layout
    categories = np.array([i.category for i in layout.instances], dtype=object)
    labels = np.array(detections.labels, dtype=object)
    can_match = (categories[:, None] == labels[None, :]) & (detections.scores >= MIN_CONFIDENCE)[None, :]
    best = np.where(can_match, box_iou(layout.boxes(), detections.boxes), 0.0).max(axis=1, initial=0.0)
    return mean_of_instances(evidence, [Score(float(v)) for v in best])


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`miou_oracle`, if there is a detector.

    >>> [metric.info.name for metric in metrics({"detector": "yolo"})]
    ['miou_oracle']
    """
    if "detector" not in scorers:
        return ()
    how = (
        f"box, oracle: best IoU within category, not one-to-one, conf>={MIN_CONFIDENCE}, detector {scorers['detector']}"
    )
    info = MetricInfo(
        "miou_oracle", f"miou_oracle[{how}, unmatched=0]", "mIoU, oracle", "IoU", Direction.HIGHER, 0.0, 1.0, "1"
    )
    return (MatchMetric(info, oracle_iou),)
