"""The same images judged by a second detector, and how far the two detectors agree.

A detector misses classes and styles that people recognise. If a second one of another kind, given the suite's
categories by name, ranks methods differently, the first one's table says more about the detector than about the
methods. None of these metrics is a headline metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.layout import box_iou
from layoutmark.metrics.aggregation import Summary, mean_of_instances, missing_pixels_reason
from layoutmark.metrics.ap import ALL_THRESHOLDS, IOU_50_95, AveragePrecision, MatchCache
from layoutmark.metrics.coco import ALL_AREAS, MAX_DETECTIONS, MIN_RANKED_CONFIDENCE
from layoutmark.metrics.matching import MIN_CONFIDENCE, match_hits, matched_ious
from layoutmark.metrics.miou import MatchMetric
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

SECOND_DETECTOR, CONFIDENCE_KEY = "second_detector", "second_detector/confidence"
"""Keys of `scorers`: the second detector's full name, and the lowest confidence at which its detections count."""
MIN_IOU = 0.5


@dataclass(frozen=True)
class SecondDetectorMetric:
    """A metric of detections, computed from those of the second detector.

    >>> from dataclasses import replace
    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image({"cat": (0.0, 0.0, 0.5, 0.5)}, {"cat": (0.0, 0.0, 0.5, 0.25)})
    >>> image = replace(image, detections=None, second_detections=image.detections)
    >>> metrics({"second_detector": "owl"})[2].outcomes([image])[0].outcome
    Score(value=0.5)
    """

    inner: AveragePrecision | MatchMetric
    cache: dict[Evidence, Evidence] = field(default_factory=dict)

    @property
    def info(self) -> MetricInfo:
        """Description of the metric."""
        return self.inner.info

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return self.inner.outcomes(self._with_second_detections(evidence))

    def _with_second_detections(self, evidence: Sequence[Evidence]) -> list[Evidence]:
        """The evidence with the second detections in place of the first.

        Repeated calls return the same objects, so that cached matchings of them are reused.
        """
        for e in evidence:
            if e not in self.cache:
                self.cache[e] = replace(e, detections=e.second_detections)
        return [self.cache[e] for e in evidence]


@dataclass(frozen=True)
class SecondDetectorSetMetric(SecondDetectorMetric):
    """The same for a metric whose value belongs to a set of images.

    >>> from dataclasses import replace
    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image({"cat": (0.0, 0.0, 0.5, 0.5)}, {"cat": (0.0, 0.0, 0.5, 0.4)})
    >>> image = replace(image, detections=None, second_detections=image.detections)
    >>> round(metrics({"second_detector": "owl"})[1].summarise([image]).value, 3)
    0.7
    """

    inner: AveragePrecision

    def summarise(self, evidence: Sequence[Evidence]) -> Summary:
        """The value of the set."""
        return self.inner.summarise(self._with_second_detections(evidence))

    def resampled_values(
        self, evidence: Sequence[Evidence], weights: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.float64]:
        """The values, shape (draws,), under each row of weights (draws, len(evidence))."""
        return self.inner.resampled_values(self._with_second_detections(evidence), weights)


@dataclass(frozen=True)
class DetectorAgreement:
    """F1 of the two detectors' boxes for the categories of an image's targets (`detection_f1`); range [0, 1].

    `second_confidence` is the lowest confidence at which a detection of the second detector counts.

    >>> from dataclasses import replace
    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image(detections={"cat": (0.0, 0.0, 0.5, 0.5)})
    >>> image = replace(image, second_detections=image.detections)
    >>> metrics({"detector": "yolo", "second_detector": "owl"})[-1].outcomes([image])[0].outcome
    Score(value=1.0)
    """

    info: MetricInfo
    second_confidence: float

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [SampleOutcome(e.sample.id, e.seed, self._outcome(e)) for e in evidence]

    def _outcome(self, evidence: Evidence) -> Outcome:
        if (reason := missing_pixels_reason(evidence)) is not None:
            return reason
        if evidence.detections is None or evidence.second_detections is None:
            return Unscored("no detections stored")
        categories = {i.category for i in evidence.sample.layout.instances}
        f1 = detection_f1(
            evidence.detections, evidence.second_detections, categories, MIN_CONFIDENCE, self.second_confidence
        )
        return Unscored("neither detector saw anything") if f1 is None else Score(f1)


def detection_f1(
    first: Detections, second: Detections, categories: set[str], first_confidence: float, second_confidence: float
) -> float | None:
    """F1 score 2 m / (a + b): m matched pairs among a first and b second detections; None if there are none.

    A pair has one category and an IoU of at least 0.5. As many pairs as possible are matched, and no detection is in
    two.

    Args:
        first: Detections of the first detector.
        second: Detections of the second detector.
        categories: The categories that count.
        first_confidence: Lowest confidence at which a first detection counts.
        second_confidence: Lowest confidence at which a second detection counts.

    >>> from layoutmark.metrics.examples import example_image
    >>> first = example_image(detections={"cat": (0.0, 0.0, 0.5, 0.5)}).detections
    >>> second = example_image(detections={"cat": (0.5, 0.5, 1.0, 1.0)}).detections
    >>> detection_f1(first, second, {"cat"}, 0.25, 0.25)
    0.0
    """
    from scipy.optimize import linear_sum_assignment

    count, matched = 0, 0
    for category in sorted(categories):
        a = _boxes(first, category, first_confidence)
        b = _boxes(second, category, second_confidence)
        count += len(a) + len(b)
        can_match = box_iou(a, b) >= MIN_IOU
        matched += int(can_match[linear_sum_assignment(can_match, maximize=True)].sum())
    return 2 * matched / count if count else None


def _boxes(detections: Detections, category: str, confidence: float) -> npt.NDArray[np.float64]:
    indices = [
        k for k, label in enumerate(detections.labels) if label == category and detections.scores[k] >= confidence
    ]
    return detections.boxes[indices]


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`ap50_second`, `ap_second`, `miou_second`, `recall50_second` and, beside a detector, `detector_agreement`.

    >>> [metric.info.name for metric in metrics({"second_detector": "owl"})]
    ['ap50_second', 'ap_second', 'miou_second', 'recall50_second']
    """
    if SECOND_DETECTOR not in scorers:
        return ()
    confidence = float(scorers.get(CONFIDENCE_KEY, MIN_CONFIDENCE))
    detector = f"second detector {scorers[SECOND_DETECTOR]}"
    ranked = f"conf>={MIN_RANKED_CONFIDENCE}, at most {MAX_DETECTIONS} detections, {detector}, pycocotools"
    matched = f"box, one-to-one within category, conf>={confidence:g}, {detector}"

    def info(name: str, how: str, title: str, unit: str) -> MetricInfo:
        return MetricInfo(name, f"{name}[{how}]", title, unit, Direction.HIGHER, 0.0, 1.0, "1")

    def mean_iou(evidence: Evidence, detections: Detections) -> SampleOutcome:
        ious = matched_ious(evidence.sample.layout, detections, confidence)
        return mean_of_instances(evidence, [Score(float(v)) for v in ious])

    def recall(evidence: Evidence, detections: Detections) -> SampleOutcome:
        hits = match_hits(evidence.sample.layout, detections, MIN_IOU, confidence)
        return mean_of_instances(evidence, [Score(float(j >= 0)) for j in hits])

    ap50_info = info("ap50_second", f"box, IoU 0.5, {ranked}", "AP50, second detector", "AP")
    ap_info = info("ap_second", f"box, IoU 0.5:0.95, {ranked}", "AP, second detector", "AP")
    miou_info = info("miou_second", f"{matched}, unmatched=0", "mIoU, second detector", "IoU")
    recall_info = info("recall50_second", f"{matched}, IoU>={MIN_IOU}", "Targets hit, second detector", "share")
    at_half, all_thresholds = MatchCache((ALL_AREAS,), IOU_50_95[:1]), MatchCache((ALL_AREAS,))
    offered: tuple[Metric, ...] = (
        SecondDetectorSetMetric(AveragePrecision(ap50_info, at_half, ALL_THRESHOLDS, 0)),
        SecondDetectorSetMetric(AveragePrecision(ap_info, all_thresholds, ALL_THRESHOLDS, 0)),
        SecondDetectorMetric(MatchMetric(miou_info, mean_iou)),
        SecondDetectorMetric(MatchMetric(recall_info, recall)),
    )
    if "detector" not in scorers:
        return offered
    first = f"detector {scorers['detector']} conf>={MIN_CONFIDENCE}"
    how = f"F1 of boxes of the categories asked for, {matched}, IoU>={MIN_IOU}, {first}"
    agreement_info = info("detector_agreement", how, "Agreement of the detectors", "F1")
    return (*offered, DetectorAgreement(agreement_info, confidence))
