"""Share of detections that are right, and share of images that are right as a whole.

An image succeeds when every target is hit: the image success rate of COCO-MIG (Zhou et al., MIGC, CVPR 2024), here with
one-to-one matching. Success falls with the number of targets, so it should be read by count
(`summarise_by_instance_count`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from layoutmark.api import Metric
from layoutmark.evidence import Detections, Evidence, SampleOutcome
from layoutmark.metrics.aggregation import NO_TARGETS, Summary, summarise_outcomes
from layoutmark.metrics.matching import MIN_CONFIDENCE, match_hits
from layoutmark.metrics.miou import MatchMetric
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

NO_DETECTIONS = "nothing detected"


def detection_precision(evidence: Evidence, detections: Detections) -> SampleOutcome:
    """Share of the confident detections that hit a target; unscored if nothing was detected.

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image(detections={"cat": (0.0, 0.0, 0.5, 0.4), "dog": (0.5, 0.5, 1.0, 1.0)})
    >>> detection_precision(image, image.detections).outcome
    Score(value=0.5)
    """
    count = int((detections.scores >= MIN_CONFIDENCE).sum())
    hits = int((match_hits(evidence.sample.layout, detections) >= 0).sum())
    outcome: Outcome = Score(hits / count) if count else Unscored(NO_DETECTIONS)
    return SampleOutcome(evidence.sample.id, evidence.seed, outcome)


def all_targets_hit(evidence: Evidence, detections: Detections) -> SampleOutcome:
    """1 if every target is hit, else 0.

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image(detections={"cat": (0.0, 0.0, 0.5, 0.4)})
    >>> all_targets_hit(image, image.detections).outcome
    Score(value=1.0)
    """
    hits = match_hits(evidence.sample.layout, detections)
    outcome: Outcome = Score(float((hits >= 0).all())) if len(hits) else Unscored(NO_TARGETS)
    return SampleOutcome(evidence.sample.id, evidence.seed, outcome)


def summarise_by_instance_count(evidence: Sequence[Evidence], outcomes: Sequence[SampleOutcome]) -> dict[int, Summary]:
    """The mean of a metric's outcomes for each number of targets per image, in rising order.

    Args:
        evidence: The images.
        outcomes: The metric's outcomes, one per image.

    >>> from layoutmark.metrics.examples import example_image
    >>> summarise_by_instance_count([example_image()], [SampleOutcome("a cat", 0, Score(1.0))])[1].value
    1.0
    """
    outcomes_by_count: dict[int, list[SampleOutcome]] = {}
    for e, outcome in zip(evidence, outcomes, strict=True):
        outcomes_by_count.setdefault(len(e.sample.layout.instances), []).append(outcome)
    return {count: summarise_outcomes(outcomes_by_count[count]) for count in sorted(outcomes_by_count)}


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`precision50` and `success_rate`, if there is a detector.

    >>> [metric.info.name for metric in metrics({"detector": "yolo"})]
    ['precision50', 'success_rate']
    """
    if "detector" not in scorers:
        return ()
    how = f"box, one-to-one within category, conf>={MIN_CONFIDENCE}, IoU>=0.5, detector {scorers['detector']}"
    higher = Direction.HIGHER
    precision_info = MetricInfo(
        "precision50", f"precision50[{how}]", "Detections that hit", "share", higher, 0.0, 1.0, "1"
    )
    success_info = MetricInfo(
        "success_rate",
        f"success_rate[all targets, {how}]",
        "Images with all targets hit",
        "share",
        higher,
        0.0,
        1.0,
        "1",
    )
    return (MatchMetric(precision_info, detection_precision), MatchMetric(success_info, all_targets_hit))
