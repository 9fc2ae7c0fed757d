"""How different the pictures of one sample look from seed to seed: LPIPS between whole images.

A method that always draws the same picture has none.  More is not better without end: noise differs too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.aggregation import without_pixels
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

KEY = "lpips-diversity"


@dataclass(frozen=True)
class PerceptualDiversity:
    """The stored mean distance of an image from those of the sample's other seeds."""

    info: MetricInfo

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [SampleOutcome(e.sample.id, e.seed, without_pixels(e) or _stored(e)) for e in evidence]


def _stored(evidence: Evidence) -> Outcome:
    return Score(float(evidence.quality[KEY])) if KEY in evidence.quality else Unscored("one seed")


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`lpips_diversity`, where there is an LPIPS."""
    if "lpips" not in scorers:
        return ()
    variant = f"lpips_diversity[whole images, mean over the other seeds, {scorers['lpips']}]"
    info = MetricInfo(
        "lpips_diversity", variant, "Diversity over seeds, LPIPS", "LPIPS", Direction.HIGHER, 0.0, 10.0, "1"
    )
    return (PerceptualDiversity(info),)
