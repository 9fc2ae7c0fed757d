"""Does each target overlap a thing of its kind: mean IoU, recall at IoU 0.5, and things nobody asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.metrics.aggregation import NO_TARGETS, mean_of_instances, unscored, without_pixels
from layoutmark.metrics.coco import MAX_DETECTIONS
from layoutmark.metrics.matching import CONFIDENCE, best_overlap, hits
from layoutmark.score import Direction, MetricInfo, Score, Unscored


@dataclass(frozen=True)
class MatchMetric:
    """A metric of one image's one-to-one matching: `info`, and how it scores an image with its detections."""

    info: MetricInfo
    score: Callable[[Evidence, Detections], SampleOutcome]

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [self._outcome(e) for e in evidence]

    def _outcome(self, evidence: Evidence) -> SampleOutcome:
        reason = without_pixels(evidence)
        if reason is None and evidence.detections is None:
            reason = Unscored("no detections stored")
        if reason is not None or evidence.detections is None:
            return unscored(evidence, reason or Unscored(NO_TARGETS))
        return self.score(evidence, evidence.detections)


def mean_iou(evidence: Evidence, detections: Detections) -> SampleOutcome:
    """Each instance's IoU with the detection assigned to it, 0 without one; the image is their mean."""
    overlaps = best_overlap(evidence.sample.layout, detections)
    return mean_of_instances(evidence, [Score(float(v)) for v in overlaps])


def recall(evidence: Evidence, detections: Detections) -> SampleOutcome:
    """1 for an instance that a detection hits, else 0; the image is the share that is hit."""
    matched = hits(evidence.sample.layout, detections)
    return mean_of_instances(evidence, [Score(float(j >= 0)) for j in matched])


def extra(evidence: Evidence, detections: Detections) -> SampleOutcome:
    """How many detections at the stated confidence hit no target; needs no target to be defined."""
    matched = hits(evidence.sample.layout, detections)
    count = int((detections.scores >= CONFIDENCE).sum()) - int((matched >= 0).sum())
    return SampleOutcome(evidence.sample.id, evidence.seed, Score(float(count)))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`miou`, `recall50` and `extra_rate`, where there is a detector."""
    if "detector" not in scorers:
        return ()
    how = f"box, one-to-one within category, conf>={CONFIDENCE}, detector {scorers['detector']}"
    up, down = Direction.HIGHER, Direction.LOWER
    iou = MetricInfo("miou", f"miou[{how}, unmatched=0]", "mIoU", "IoU", up, 0.0, 1.0, "1")
    hit = MetricInfo("recall50", f"recall50[{how}, IoU>=0.5]", "Targets hit", "share", up, 0.0, 1.0, "1")
    more = f"extra_rate[{how}, IoU>=0.5]"
    wrong = MetricInfo("extra_rate", more, "Things not asked for", "per image", down, 0.0, float(MAX_DETECTIONS), "1")
    return (MatchMetric(iou, mean_iou), MatchMetric(hit, recall), MatchMetric(wrong, extra))
