"""What a second detector says of the same pictures, and how far the two agree.

A detector misses classes and styles that people see; where a second one of another kind, asked for the suite's
categories by name, ranks methods otherwise, the first one's table is about the detector.  None of these is a headline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.layout import box_iou
from layoutmark.metrics.aggregation import Summary, mean_of_instances, without_pixels
from layoutmark.metrics.ap import ALL, IOU_50_95, AveragePrecision, Matches
from layoutmark.metrics.coco import CONFIDENCE as RANKED
from layoutmark.metrics.coco import EVERY_AREA, MAX_DETECTIONS
from layoutmark.metrics.matching import CONFIDENCE, best_overlap, hits
from layoutmark.metrics.miou import MatchMetric
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

SECOND, LEAST = "second_detector", "second_detector/confidence"
"""Keys of `scorers`: the second detector's full name, and from which confidence on its detections count as seen."""
IOU = 0.5


@dataclass(frozen=True)
class AsFirst:
    """A metric of detections, read off those of the second detector."""

    inner: AveragePrecision | MatchMetric
    kept: dict[Evidence, Evidence] = field(default_factory=dict)

    @property
    def info(self) -> MetricInfo:
        """That of the metric."""
        return self.inner.info

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return self.inner.outcomes(self._seen(evidence))

    def _seen(self, evidence: Sequence[Evidence]) -> list[Evidence]:
        """The same evidence with the second detections in place of the first, always as the same objects.

        So matches that were made of them are found again.
        """
        for e in evidence:
            if e not in self.kept:
                self.kept[e] = replace(e, detections=e.second)
        return [self.kept[e] for e in evidence]


@dataclass(frozen=True)
class SetAsFirst(AsFirst):
    """The same for a metric whose value belongs to a set of images."""

    inner: AveragePrecision

    def summarise(self, evidence: Sequence[Evidence]) -> Summary:
        """The value of the set."""
        return self.inner.summarise(self._seen(evidence))

    def resampled(self, evidence: Sequence[Evidence], weights: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """The value under each row of weights (draws, len(evidence))."""
        return self.inner.resampled(self._seen(evidence), weights)


@dataclass(frozen=True)
class Agreement:
    """F1 of the two detectors' boxes for the categories that an image asks for, one to one at IoU 0.5."""

    info: MetricInfo
    least: float

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [SampleOutcome(e.sample.id, e.seed, self._outcome(e)) for e in evidence]

    def _outcome(self, evidence: Evidence) -> Outcome:
        if (reason := without_pixels(evidence)) is not None:
            return reason
        if evidence.detections is None or evidence.second is None:
            return Unscored("no detections stored")
        asked = {i.category for i in evidence.sample.layout.instances}
        value = agreement(evidence.detections, evidence.second, asked, CONFIDENCE, self.least)
        return Unscored("neither detector saw anything") if value is None else Score(value)


def agreement(
    first: Detections, second: Detections, categories: set[str], least_first: float, least_second: float
) -> float | None:
    """2 m / (a + b): m pairs of one category with IoU 0.5 or more, of a and b detections of the least confidences.

    As many pairs as possible are made, none shares a detection.  None when both are empty.
    """
    from scipy.optimize import linear_sum_assignment

    count, matched = 0, 0
    for category in sorted(categories):
        a = _boxes(first, category, least_first)
        b = _boxes(second, category, least_second)
        count += len(a) + len(b)
        near = box_iou(a, b) >= IOU
        matched += int(near[linear_sum_assignment(near, maximize=True)].sum())
    return 2 * matched / count if count else None


def _boxes(detections: Detections, category: str, least: float) -> npt.NDArray[np.float64]:
    kept = [k for k, label in enumerate(detections.labels) if label == category and detections.scores[k] >= least]
    return detections.boxes[kept]


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`ap50_second`, `ap_second`, `miou_second`, `recall50_second` and, beside a detector, `detector_agreement`."""
    if SECOND not in scorers:
        return ()
    least, by = float(scorers.get(LEAST, CONFIDENCE)), f"second detector {scorers[SECOND]}"
    ranked = f"conf>={RANKED}, at most {MAX_DETECTIONS} detections, {by}, pycocotools"
    matched = f"box, one-to-one within category, conf>={least:g}, {by}"

    def info(name: str, what: str, title: str, unit: str) -> MetricInfo:
        return MetricInfo(name, f"{name}[{what}]", title, unit, Direction.HIGHER, 0.0, 1.0, "1")

    def iou(evidence: Evidence, detections: Detections) -> SampleOutcome:
        overlaps = best_overlap(evidence.sample.layout, detections, least)
        return mean_of_instances(evidence, [Score(float(v)) for v in overlaps])

    def recall(evidence: Evidence, detections: Detections) -> SampleOutcome:
        found = hits(evidence.sample.layout, detections, IOU, least)
        return mean_of_instances(evidence, [Score(float(j >= 0)) for j in found])

    ap50 = info("ap50_second", f"box, IoU 0.5, {ranked}", "AP50, second detector", "AP")
    ap = info("ap_second", f"box, IoU 0.5:0.95, {ranked}", "AP, second detector", "AP")
    miou = info("miou_second", f"{matched}, unmatched=0", "mIoU, second detector", "IoU")
    hit = info("recall50_second", f"{matched}, IoU>={IOU}", "Targets hit, second detector", "share")
    found: tuple[Metric, ...] = (
        SetAsFirst(AveragePrecision(ap50, Matches((EVERY_AREA,), IOU_50_95[:1]), ALL, 0)),
        SetAsFirst(AveragePrecision(ap, Matches((EVERY_AREA,)), ALL, 0)),
        AsFirst(MatchMetric(miou, iou)),
        AsFirst(MatchMetric(hit, recall)),
    )
    if "detector" not in scorers:
        return found
    what = f"F1 of boxes of the categories asked for, {matched}, IoU>={IOU}, detector {scorers['detector']} "
    both = info("detector_agreement", what + f"conf>={CONFIDENCE}", "Agreement of the detectors", "F1")
    return (*found, Agreement(both, least))
