"""How much the images of one sample differ between seeds: LPIPS between whole images.

A method that always generates the same image has no diversity. More is not always better: noise differs too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.aggregation import missing_pixels_reason
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

KEY = "lpips-diversity"


@dataclass(frozen=True)
class PerceptualDiversity:
    """The stored mean LPIPS distance of an image from those of the sample's other seeds; 0 or more.

    >>> from layoutmark.metrics.examples import example_image
    >>> metrics({"lpips": "AlexNet"})[0].outcomes([example_image(quality={"lpips-diversity": 0.25})])[0].outcome
    Score(value=0.25)
    """

    info: MetricInfo

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [SampleOutcome(e.sample.id, e.seed, missing_pixels_reason(e) or _outcome(e)) for e in evidence]


def _outcome(evidence: Evidence) -> Outcome:
    return Score(float(evidence.quality[KEY])) if KEY in evidence.quality else Unscored("one seed")


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`lpips_diversity`, if there is an LPIPS model.

    >>> [metric.info.name for metric in metrics({"lpips": "AlexNet"})]
    ['lpips_diversity']
    """
    if "lpips" not in scorers:
        return ()
    variant = f"lpips_diversity[whole images, mean over the other seeds, {scorers['lpips']}]"
    info = MetricInfo(
        "lpips_diversity", variant, "Diversity over seeds, LPIPS", "LPIPS", Direction.HIGHER, 0.0, 10.0, "1"
    )
    return (PerceptualDiversity(info),)
