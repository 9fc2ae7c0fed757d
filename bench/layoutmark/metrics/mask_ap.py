"""AP at mask IoU 0.5 by pycocotools: do ranked detections cover the pixels of the targets?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.ap import ALL_THRESHOLDS, IOU_50_95, AveragePrecision, MatchCache
from layoutmark.metrics.coco import ALL_AREAS, MAX_DETECTIONS, missing_masks_reason
from layoutmark.score import Direction, MetricInfo


@dataclass(frozen=True)
class MaskPrecision(AveragePrecision):
    """AP of masks over the images in which all targets have a mask; in others, it is unknown what a mask hits.

    >>> from layoutmark.metrics.examples import example_image, example_mask
    >>> boxes = {"cat": (0.0, 0.0, 0.5, 0.5)}
    >>> image = example_image(
    ...     boxes, boxes, masks=[example_mask(0, 0, 32, 24)], instance={"mask": example_mask(0, 0, 32, 32)}
    ... )
    >>> round(metrics({"detector": "yolo", "masks": "unet"})[0].summarise([image]).value, 3)
    1.0
    """

    def _scorable(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        outcomes = super()._scorable(evidence)
        reasons = [missing_masks_reason(e) for e in evidence]
        return [
            o if e.detections is None or reason is None else SampleOutcome(o.sample, o.seed, reason)
            for o, e, reason in zip(outcomes, evidence, reasons, strict=True)
        ]


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`mask_ap50`, if detections have ``masks``; detections without a mask do not take part.

    >>> [metric.info.name for metric in metrics({"detector": "yolo", "masks": "unet"})]
    ['mask_ap50']
    """
    if "detector" not in scorers or "masks" not in scorers:
        return ()
    how = f"mask, IoU 0.5, at most {MAX_DETECTIONS} detections, detector {scorers['detector']}, {scorers['masks']}"
    info = MetricInfo(
        "mask_ap50", f"mask_ap50[{how}, pycocotools]", "AP50 of masks", "AP", Direction.HIGHER, 0.0, 1.0, "1"
    )
    return (MaskPrecision(info, MatchCache((ALL_AREAS,), IOU_50_95[:1], use_masks=True), ALL_THRESHOLDS, 0),)
