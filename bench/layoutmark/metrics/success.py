"""Which share of what was seen is right, and which pictures are right as a whole.

A picture succeeds when every target is hit: the image success rate of COCO-MIG (Zhou et al., MIGC, CVPR 2024), here
with one-to-one matching.  Success falls with the number of targets, so it is read by count: `by_instance_count`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.metrics.aggregation import NO_TARGETS, Summary, summary
from layoutmark.metrics.matching import CONFIDENCE, hits
from layoutmark.metrics.miou import MatchMetric
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

NOTHING_SEEN = "nothing detected"


def precision(evidence: Evidence, detections: Detections) -> SampleOutcome:
    """The share of detections at the stated confidence that hit a target; not scored where nothing was detected."""
    count = int((detections.scores >= CONFIDENCE).sum())
    hit = int((hits(evidence.sample.layout, detections) >= 0).sum())
    outcome: Outcome = Score(hit / count) if count else Unscored(NOTHING_SEEN)
    return SampleOutcome(evidence.sample.id, evidence.seed, outcome)


def success(evidence: Evidence, detections: Detections) -> SampleOutcome:
    """1 if every target is hit, else 0."""
    matched = hits(evidence.sample.layout, detections)
    outcome: Outcome = Score(float((matched >= 0).all())) if len(matched) else Unscored(NO_TARGETS)
    return SampleOutcome(evidence.sample.id, evidence.seed, outcome)


def by_instance_count(evidence: Sequence[Evidence], outcomes: Sequence[SampleOutcome]) -> dict[int, Summary]:
    """The mean of a metric's outcomes for each number of targets that occurs, in rising order.

    `outcomes` are the metric's own, one for each piece of evidence and in its order.
    """
    cells: dict[int, list[SampleOutcome]] = {}
    for e, outcome in zip(evidence, outcomes, strict=True):
        cells.setdefault(len(e.sample.layout.instances), []).append(outcome)
    return {count: summary(cells[count]) for count in sorted(cells)}


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`precision50` and `success_rate`, where there is a detector."""
    if "detector" not in scorers:
        return ()
    how = f"box, one-to-one within category, conf>={CONFIDENCE}, IoU>=0.5, detector {scorers['detector']}"
    up = Direction.HIGHER
    right = MetricInfo("precision50", f"precision50[{how}]", "Detections that hit", "share", up, 0.0, 1.0, "1")
    whole = MetricInfo("success_rate", f"success_rate[all targets, {how}]", "Images right", "share", up, 0.0, 1.0, "1")
    return (MatchMetric(right, precision), MatchMetric(whole, success))
