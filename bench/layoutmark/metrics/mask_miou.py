"""Do the pixels of a thing lie in its mask?  Mean IoU of masks, for detectors that give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from layoutmark.door import Metric
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.layout import Mask, box_iou
from layoutmark.metrics.matching import CONFIDENCE, assign
from layoutmark.metrics.mean import mean_of_instances
from layoutmark.metrics.miou import MatchMetric
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored


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
            outcomes.append(Unscored("no masks stored"))
        else:
            outcomes.append(Score(_iou(evidence, instance.mask, masks[j]) if j >= 0 else 0.0))
    return mean_of_instances(evidence, outcomes)


def _iou(evidence: Evidence, wanted: Mask, found: Mask) -> float:
    from pycocotools import mask as coco

    if (wanted.height, wanted.width) != (found.height, found.width):
        raise LayoutmarkError(
            f"masks of sample {evidence.sample.id!r}",
            found=f"{found.height} x {found.width} detected, {wanted.height} x {wanted.width} asked for",
            expected="one grid",
            do="Store detected masks on the grid of the layout's canvas.",
        )
    return float(np.asarray(coco.iou([_rle(found)], [_rle(wanted)], [0]))[0, 0])


def _rle(mask: Mask) -> dict[str, Any]:
    return {"size": [mask.height, mask.width], "counts": mask.counts.encode("ascii")}


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`mask_miou`, where the detector is said to give ``masks``."""
    if "masks" not in scorers:
        return ()
    variant = f"mask_miou[one-to-one by box within category, conf>={CONFIDENCE}, unmatched=0, {scorers['masks']}]"
    info = MetricInfo("mask_miou", variant, "mIoU of masks", "IoU", Direction.HIGHER, 0.0, 1.0, "1")
    return (MatchMetric(info, mask_iou),)
