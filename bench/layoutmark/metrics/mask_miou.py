"""Do the pixels of a thing lie in its mask?  Mean IoU of masks, where detections have them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.layout import Mask, box_iou
from layoutmark.metrics.aggregation import mean_of_instances
from layoutmark.metrics.coco import check_grids
from layoutmark.metrics.matching import CONFIDENCE, assign
from layoutmark.metrics.miou import MatchMetric
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

NO_MASKS, NO_MASK = "no masks stored", "no mask of the detection stored"


def mask_iou(evidence: Evidence, detections: Detections) -> SampleOutcome:
    """Each masked instance's IoU with the mask of the detection assigned by box, else 0; the image is their mean.

    Raises LayoutmarkError when the two masks are on grids of different size: resizing either would change the number.
    """
    layout, masks = evidence.sample.layout, detections.masks
    matched = assign(layout, detections, box_iou, CONFIDENCE)
    outcomes: list[Outcome] = []
    for instance, j in zip(layout.instances, matched, strict=True):
        if instance.mask is None:
            outcomes.append(Unscored("no mask asked for"))
        elif masks is None:
            outcomes.append(Unscored(NO_MASKS))
        elif j < 0:
            outcomes.append(Score(0.0))
        elif (found := masks[j]) is None:
            outcomes.append(Unscored(NO_MASK))
        else:
            outcomes.append(Score(_iou(evidence, instance.mask, found)))
    return mean_of_instances(evidence, outcomes)


def _iou(evidence: Evidence, wanted: Mask, found: Mask) -> float:
    from pycocotools import mask as coco

    check_grids(evidence, wanted, found)
    return float(np.asarray(coco.iou([found.rle()], [wanted.rle()], [0]))[0, 0])


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`mask_miou`, where detections are said to have ``masks``."""
    if "detector" not in scorers or "masks" not in scorers:
        return ()
    how = f"one-to-one by box within category, conf>={CONFIDENCE}, unmatched=0, detector {scorers['detector']}"
    variant = f"mask_miou[{how}, {scorers['masks']}]"
    info = MetricInfo("mask_miou", variant, "mIoU of masks", "IoU", Direction.HIGHER, 0.0, 1.0, "1")
    return (MatchMetric(info, mask_iou),)
