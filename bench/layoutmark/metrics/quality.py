"""Image quality by CLIP-IQA: the probability of a positive prompt against a negative one.

After Wang, Chan and Loy, Exploring CLIP for Assessing the Look and Feel of Images, AAAI 2023.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.aggregation import missing_pixels_reason
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

KEY = "clip-iqa"


@dataclass(frozen=True)
class ImageQuality:
    """The stored CLIP-IQA value of the whole image, in [0, 1].

    >>> from layoutmark.metrics.examples import example_image
    >>> metrics({"quality": "CLIP-IQA"})[0].outcomes([example_image(quality={"clip-iqa": 0.75})])[0].outcome
    Score(value=0.75)
    """

    info: MetricInfo

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order. Raises LayoutmarkError for a stored value outside [0, 1]."""
        return [SampleOutcome(e.sample.id, e.seed, missing_pixels_reason(e) or _outcome(e)) for e in evidence]


def _outcome(evidence: Evidence) -> Outcome:
    if KEY not in evidence.quality:
        return Unscored(f"no {KEY} stored")
    value = evidence.quality[KEY]
    if math.isnan(value):
        return Unscored("not finite")
    if not 0.0 <= value <= 1.0:
        raise LayoutmarkError(
            f"{KEY} of sample {evidence.sample.id!r}",
            found=str(value),
            expected="a probability in [0, 1]",
            do="Measure the image again.",
        )
    return Score(float(value))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`clip_iqa`, if there is a quality scorer.

    >>> [metric.info.name for metric in metrics({"quality": "CLIP-IQA"})]
    ['clip_iqa']
    """
    if "quality" not in scorers:
        return ()
    variant = f"clip_iqa[whole image, {scorers['quality']}]"
    info = MetricInfo("clip_iqa", variant, "CLIP-IQA", "probability", Direction.HIGHER, 0.0, 1.0, "1")
    return (ImageQuality(info),)
