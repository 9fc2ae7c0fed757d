"""AP at mask IoU 0.5 by pycocotools: whether ranked detections lie on the pixels of the things asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.ap import ALL, IOU_50_95, AveragePrecision, Matches
from layoutmark.metrics.coco import EVERY_AREA, MAX_DETECTIONS, without_masks
from layoutmark.score import Direction, MetricInfo


@dataclass(frozen=True)
class MaskPrecision(AveragePrecision):
    """AP of masks over the images whose targets all have one: where one has none, nobody knows what a mask hits."""

    def _states(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        plain = super()._states(evidence)
        reasons = [without_masks(e) for e in evidence]
        return [
            s if e.detections is None or reason is None else SampleOutcome(s.sample, s.seed, reason)
            for s, e, reason in zip(plain, evidence, reasons, strict=True)
        ]


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`mask_ap50`, where detections are said to have ``masks``; those without one do not take part."""
    if "detector" not in scorers or "masks" not in scorers:
        return ()
    how = f"mask, IoU 0.5, at most {MAX_DETECTIONS} detections, detector {scorers['detector']}, {scorers['masks']}"
    info = MetricInfo(
        "mask_ap50", f"mask_ap50[{how}, pycocotools]", "AP50 of masks", "AP", Direction.HIGHER, 0.0, 1.0, "1"
    )
    return (MaskPrecision(info, Matches((EVERY_AREA,), IOU_50_95[:1], masks=True), ALL, 0),)
