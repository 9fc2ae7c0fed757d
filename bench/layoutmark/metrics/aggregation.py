"""From outcomes to one number: the mean of the scored outcomes, and the count of unscored ones by reason."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from layoutmark.api import Metric
from layoutmark.evidence import CropEvidence, Evidence, InstanceOutcome, SampleOutcome
from layoutmark.layout import Instance
from layoutmark.score import SCORED_STATUSES, Outcome, Score, Unscored

NO_TARGETS = "no targets"


@dataclass(frozen=True, slots=True)
class Summary:
    """The `value` over the `n` scored images of the `requested` ones; `unscored` counts the others by reason."""

    value: float | None
    n: int
    requested: int
    unscored: Mapping[str, int] = field(default_factory=dict)
    caution: str = ""
    """Why the value must be read with care; usually empty."""


@runtime_checkable
class SetMetric(Metric, Protocol):
    """A metric whose value belongs to a set of images, such as AP, and is not the mean of the images' outcomes.

    >>> from layoutmark.metrics import all_metrics
    >>> [m.info.name for m in all_metrics({"detector": "yolo"}) if isinstance(m, SetMetric)]
    ['ap50', 'ap', 'ap75', 'ap_large', 'ap_medium', 'ap_small', 'ar']
    """

    def summarise(self, evidence: Sequence[Evidence]) -> Summary:
        """The value of the set."""
        ...

    def resampled_values(
        self, evidence: Sequence[Evidence], weights: npt.NDArray[np.integer]
    ) -> npt.NDArray[np.float64]:
        """The values, shape (draws,), of the sets in which image i counts weights[draw, i] times.

        NaN for a draw in which nothing can be scored.
        """
        ...


def summarise_metric(metric: Metric, evidence: Sequence[Evidence]) -> Summary:
    """The value of a metric over the requested images: its own for a `SetMetric`, else the mean of its outcomes.

    >>> from layoutmark.metrics.examples import example_image
    >>> from layoutmark.metrics.miou import metrics
    >>> image = example_image({"cat": (0.0, 0.0, 0.5, 0.5)}, {"cat": (0.0, 0.0, 0.5, 0.25)})
    >>> summarise_metric(metrics({"detector": "yolo"})[0], [image])
    Summary(value=0.5, n=1, requested=1, unscored={}, caution='')
    """
    if isinstance(metric, SetMetric):
        return metric.summarise(evidence)
    return summarise_outcomes(metric.outcomes(evidence))


def summarise_outcomes(outcomes: Sequence[SampleOutcome]) -> Summary:
    """The mean over the images that have a score; None if no image has one. `requested` counts every image.

    >>> summarise_outcomes([SampleOutcome("a", 0, Score(0.5)), SampleOutcome("b", 0, Unscored("failed"))])
    Summary(value=0.5, n=1, requested=2, unscored={'failed': 1}, caution='')
    """
    values = [o.outcome.value for o in outcomes if isinstance(o.outcome, Score)]
    reasons = Counter(o.outcome.reason for o in outcomes if isinstance(o.outcome, Unscored))
    # fsum does not depend on the order of images, so neither does the printed number.
    value = math.fsum(values) / len(values) if values else None
    return Summary(value, len(values), len(outcomes), dict(sorted(reasons.items())))


def missing_pixels_reason(evidence: Evidence) -> Unscored | None:
    """Why an image has no pixels to score (its status, such as ``failed``), or None if it has pixels.

    >>> from layoutmark.metrics.examples import example_image
    >>> from layoutmark.score import Status
    >>> missing_pixels_reason(example_image(status=Status.FAILED))
    Unscored(reason='failed')
    """
    return None if evidence.status in SCORED_STATUSES else Unscored(evidence.status.value)


def unscored_image(evidence: Evidence, reason: Unscored) -> SampleOutcome:
    """The outcome of an image that is unscored as a whole, with the same reason for each instance.

    >>> from layoutmark.metrics.examples import example_image
    >>> unscored_image(example_image(), Unscored("failed")).instances
    (InstanceOutcome(instance='cat', outcome=Unscored(reason='failed')),)
    """
    instances = tuple(InstanceOutcome(i.id, reason) for i in evidence.sample.layout.instances)
    return SampleOutcome(evidence.sample.id, evidence.seed, reason, instances)


def mean_of_instances(evidence: Evidence, outcomes: Sequence[Outcome]) -> SampleOutcome:
    """The mean over the scored instances of an image; if none is scored, their reasons.

    Args:
        evidence: The image.
        outcomes: One outcome per instance, in the layout's order.

    >>> from layoutmark.metrics.examples import example_image
    >>> image = example_image({"cat": (0.0, 0.0, 0.5, 0.5), "dog": (0.5, 0.5, 1.0, 1.0)})
    >>> mean_of_instances(image, [Score(0.25), Score(0.75)]).outcome
    Score(value=0.5)
    """
    pairs = zip(evidence.sample.layout.instances, outcomes, strict=True)
    instances = tuple(InstanceOutcome(instance.id, outcome) for instance, outcome in pairs)
    values = [o.value for o in outcomes if isinstance(o, Score)]
    image_outcome: Outcome
    if values:
        image_outcome = Score(math.fsum(values) / len(values))
    else:
        reasons = sorted({o.reason for o in outcomes if isinstance(o, Unscored)})
        image_outcome = Unscored("; ".join(reasons) or NO_TARGETS)
    return SampleOutcome(evidence.sample.id, evidence.seed, image_outcome, instances)


def mean_over_crops(
    evidence: Evidence, score_crop: Callable[[Instance, CropEvidence | None], Outcome]
) -> SampleOutcome:
    """The mean of `score_crop` over the instances of an image.

    Args:
        evidence: The image.
        score_crop: Called with each instance and its crop, or None if no crop was stored.

    >>> from layoutmark.metrics.examples import example_image
    >>> mean_over_crops(example_image(crops=[{"pixel_count": 400}]), lambda _, crop: Score(crop.pixel_count)).outcome
    Score(value=400.0)
    """
    reason = missing_pixels_reason(evidence)
    if reason is not None:
        return unscored_image(evidence, reason)
    crops = {crop.instance: crop for crop in evidence.crops}
    return mean_of_instances(evidence, [score_crop(i, crops.get(i.id)) for i in evidence.sample.layout.instances])
