"""Do an object's pixels fill its target mask? Mean IoU of masks, if detections have masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.layout import Mask, box_iou
from layoutmark.metrics.aggregation import mean_of_instances
from layoutmark.metrics.coco import check_same_grid
from layoutmark.metrics.matching import MIN_CONFIDENCE, assign
from layoutmark.metrics.miou import MatchMetric
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

NO_MASKS, NO_MASK = "no masks stored", "no mask of the detection stored"


def mask_iou(evidence: Evidence, detections: Detections) -> SampleOutcome:
    """Mean over masked instances of the mask IoU with the detection assigned by box, 0 without one; range [0, 1].

    Raises LayoutmarkError when the two masks are on grids of different size: resizing either would change the value.

    >>> from layoutmark.metrics.examples import example_image, example_mask
    >>> boxes = {"cat": (0.0, 0.0, 0.5, 0.5)}
    >>> masks = {"masks": [example_mask(0, 0, 32, 16)], "instance": {"mask": example_mask(0, 0, 32, 32)}}
    >>> image = example_image(boxes, boxes, **masks)
    >>> mask_iou(image, image.detections).outcome
    Score(value=0.5)
    """
    layout, masks = evidence.sample.layout, detections.masks
    assigned = assign(layout, detections, box_iou, MIN_CONFIDENCE)
    outcomes: list[Outcome] = []
    for instance, j in zip(layout.instances, assigned, strict=True):
        if instance.mask is None:
            outcomes.append(Unscored("no mask asked for"))
        elif masks is None:
            outcomes.append(Unscored(NO_MASKS))
        elif j < 0:
            outcomes.append(Score(0.0))
        elif (detected_mask := masks[j]) is None:
            outcomes.append(Unscored(NO_MASK))
        else:
            outcomes.append(Score(_iou(evidence, instance.mask, detected_mask)))
    return mean_of_instances(evidence, outcomes)


def _iou(evidence: Evidence, target_mask: Mask, detected_mask: Mask) -> float:
    from pycocotools import mask as coco

    check_same_grid(evidence, target_mask, detected_mask)
    return float(np.asarray(coco.iou([detected_mask.to_rle()], [target_mask.to_rle()], [0]))[0, 0])


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`mask_miou`, if detections have ``masks``.

    >>> [metric.info.name for metric in metrics({"detector": "yolo", "masks": "unet"})]
    ['mask_miou']
    """
    if "detector" not in scorers or "masks" not in scorers:
        return ()
    how = f"one-to-one by box within category, conf>={MIN_CONFIDENCE}, unmatched=0, detector {scorers['detector']}"
    variant = f"mask_miou[{how}, {scorers['masks']}]"
    info = MetricInfo("mask_miou", variant, "mIoU of masks", "IoU", Direction.HIGHER, 0.0, 1.0, "1")
    return (MatchMetric(info, mask_iou),)
