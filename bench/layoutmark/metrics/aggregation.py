"""How outcomes become one number: the mean of what was scored, and the count of what was not, by reason."""

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
from layoutmark.score import SCORED, Outcome, Score, Unscored

NO_TARGETS = "no targets"


@dataclass(frozen=True, slots=True)
class Summary:
    """`value` over the `n` images that were scored, of the `of` requested; the others by reason in `unscored`."""

    value: float | None
    n: int
    of: int
    unscored: Mapping[str, int] = field(default_factory=dict)
    caution: str = ""
    """Why a value that is there asks for care; empty where nothing is to be said."""


@runtime_checkable
class SetMetric(Metric, Protocol):
    """A metric whose value belongs to a set of images and is not the mean of its images' outcomes."""

    def summarise(self, evidence: Sequence[Evidence]) -> Summary:
        """The value of the set."""
        ...

    def resampled(self, evidence: Sequence[Evidence], weights: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """The value, shape (draws,), of the sets in which image i counts as often as weights[draw, i] says.

        NaN where nothing can be scored.
        """
        ...


def summarise(metric: Metric, evidence: Sequence[Evidence]) -> Summary:
    """The value of any metric over requested images: its own if it is a `SetMetric`, else the mean of outcomes."""
    if isinstance(metric, SetMetric):
        return metric.summarise(evidence)
    return summary(metric.outcomes(evidence))


def summary(outcomes: Sequence[SampleOutcome]) -> Summary:
    """The mean over images that have a score.  `of` counts every requested image; no score at all gives None."""
    values = [o.outcome.value for o in outcomes if isinstance(o.outcome, Score)]
    reasons = Counter(o.outcome.reason for o in outcomes if isinstance(o.outcome, Unscored))
    # fsum does not depend on the order of images, so neither does the printed number.
    value = math.fsum(values) / len(values) if values else None
    return Summary(value, len(values), len(outcomes), dict(sorted(reasons.items())))


def without_pixels(evidence: Evidence) -> Unscored | None:
    """Why an image cannot be scored at all (its status, such as ``failed``), or None if it has pixels."""
    return None if evidence.status in SCORED else Unscored(evidence.status.value)


def unscored(evidence: Evidence, reason: Unscored) -> SampleOutcome:
    """An image none of whose instances is scored, for one reason."""
    instances = tuple(InstanceOutcome(i.id, reason) for i in evidence.sample.layout.instances)
    return SampleOutcome(evidence.sample.id, evidence.seed, reason, instances)


def mean_of_instances(evidence: Evidence, outcomes: Sequence[Outcome]) -> SampleOutcome:
    """An image's mean over the scored ones of its instances, in the layout's order; none scored tells the reasons."""
    pairs = zip(evidence.sample.layout.instances, outcomes, strict=True)
    instances = tuple(InstanceOutcome(instance.id, outcome) for instance, outcome in pairs)
    values = [o.value for o in outcomes if isinstance(o, Score)]
    whole: Outcome
    if values:
        whole = Score(math.fsum(values) / len(values))
    else:
        reasons = sorted({o.reason for o in outcomes if isinstance(o, Unscored)})
        whole = Unscored("; ".join(reasons) or NO_TARGETS)
    return SampleOutcome(evidence.sample.id, evidence.seed, whole, instances)


def mean_over_crops(evidence: Evidence, judge: Callable[[Instance, CropEvidence | None], Outcome]) -> SampleOutcome:
    """An image's mean of what `judge` says of each instance and its crop, None where no crop was stored."""
    reason = without_pixels(evidence)
    if reason is not None:
        return unscored(evidence, reason)
    crops = {crop.instance: crop for crop in evidence.crops}
    return mean_of_instances(evidence, [judge(i, crops.get(i.id)) for i in evidence.sample.layout.instances])
