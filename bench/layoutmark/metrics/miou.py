"""Does each target overlap an object of its category? Mean IoU, recall at IoU 0.5, and detections that hit nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.metrics.aggregation import NO_TARGETS, mean_of_instances, missing_pixels_reason, unscored_image
from layoutmark.metrics.coco import MAX_DETECTIONS
from layoutmark.metrics.matching import MIN_CONFIDENCE, match_hits, matched_ious
from layoutmark.score import Direction, MetricInfo, Score, Unscored


@dataclass(frozen=True)
class MatchMetric:
    """A metric computed from one image and its detections by `score_image`; images without them are not scored.

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image({"cat": (0.0, 0.0, 0.5, 0.5)}, {"cat": (0.0, 0.0, 0.5, 0.25)})
    >>> metrics({"detector": "yolo"})[0].outcomes([image])[0].outcome
    Score(value=0.5)
    """

    info: MetricInfo
    score_image: Callable[[Evidence, Detections], SampleOutcome]

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [self._outcome(e) for e in evidence]

    def _outcome(self, evidence: Evidence) -> SampleOutcome:
        reason = missing_pixels_reason(evidence)
        if reason is None and evidence.detections is None:
            reason = Unscored("no detections stored")
        if reason is not None or evidence.detections is None:
            return unscored_image(evidence, reason or Unscored(NO_TARGETS))
        return self.score_image(evidence, evidence.detections)


def mean_iou(evidence: Evidence, detections: Detections) -> SampleOutcome:
    """Mean over instances of the IoU with the detection assigned to them, 0 without one; range [0, 1].

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image({"cat": (0.0, 0.0, 0.5, 0.5)}, {"cat": (0.0, 0.0, 0.5, 0.25)})
    >>> mean_iou(image, image.detections).outcome
    Score(value=0.5)
    """
    ious = matched_ious(evidence.sample.layout, detections)
    return mean_of_instances(evidence, [Score(float(v)) for v in ious])


def target_recall(evidence: Evidence, detections: Detections) -> SampleOutcome:
    """Share of instances that a detection hits (IoU of at least 0.5).

    >>> from layoutmark.metrics.examples import example_image
    >>> targets = {"cat": (0.0, 0.0, 0.5, 0.5), "dog": (0.5, 0.5, 1.0, 1.0)}
    >>> image = example_image(targets, {"cat": (0.0, 0.0, 0.5, 0.4)})
    >>> target_recall(image, image.detections).outcome
    Score(value=0.5)
    """
    hits = match_hits(evidence.sample.layout, detections)
    return mean_of_instances(evidence, [Score(float(j >= 0)) for j in hits])


def extra_detections(evidence: Evidence, detections: Detections) -> SampleOutcome:
    """Number of confident detections that hit no target; also defined for an image without targets.

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image({}, {"cat": (0.0, 0.0, 0.5, 0.4)})
    >>> extra_detections(image, image.detections).outcome
    Score(value=1.0)
    """
    hits = match_hits(evidence.sample.layout, detections)
    count = int((detections.scores >= MIN_CONFIDENCE).sum()) - int((hits >= 0).sum())
    return SampleOutcome(evidence.sample.id, evidence.seed, Score(float(count)))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`miou`, `recall50` and `extra_rate`, if there is a detector.

    >>> [metric.info.name for metric in metrics({"detector": "yolo"})]
    ['miou', 'recall50', 'extra_rate']
    """
    if "detector" not in scorers:
        return ()
    how = f"box, one-to-one within category, conf>={MIN_CONFIDENCE}, detector {scorers['detector']}"
    higher, lower = Direction.HIGHER, Direction.LOWER
    iou_info = MetricInfo("miou", f"miou[{how}, unmatched=0]", "mIoU", "IoU", higher, 0.0, 1.0, "1")
    recall_info = MetricInfo("recall50", f"recall50[{how}, IoU>=0.5]", "Targets hit", "share", higher, 0.0, 1.0, "1")
    extra_info = MetricInfo(
        "extra_rate", f"extra_rate[{how}, IoU>=0.5]", "Extra detections", "per image", lower, 0.0,
        float(MAX_DETECTIONS), "1",
    )  # fmt: skip
    return (
        MatchMetric(iou_info, mean_iou),
        MatchMetric(recall_info, target_recall),
        MatchMetric(extra_info, extra_detections),
    )
