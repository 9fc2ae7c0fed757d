"""Does each object have the requested colour, measured over its mask? This is the rule of COCO-MIG.

At least a fifth of the pixels must have the colour (Zhou et al., MIGC, CVPR 2024; there of the mask that a segmenter
finds, here of the target mask). An instance without a mask is judged by its box as in `colour_accuracy`, a different
rule; the two are never mixed within an instance, and a suite either has masks or has none. Masks with few pixels are
not assessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import CropEvidence, Evidence, SampleOutcome
from layoutmark.layout import Instance
from layoutmark.metrics.aggregation import mean_over_crops
from layoutmark.metrics.colour import MIN_PIXELS, judge_colour_in_box, requested_colour
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

MIN_MASK_SHARE = 0.2


@dataclass(frozen=True)
class MaskedColour:
    """Share of instances whose target mask, or without one their target box, has the requested colour; range [0, 1].

    >>> from layoutmark.metrics.examples import example_image, example_mask
    >>> instance = {"attributes": {"colour": "red"}, "mask": example_mask(0, 0, 32, 32)}
    >>> image = example_image(instance=instance, crops=[{"mask_colour_shares": {"red": 0.3}, "mask_pixel_count": 400}])
    >>> metrics({"pixels": "hsv"})[0].outcomes([image])[0].outcome
    Score(value=1.0)
    """

    info: MetricInfo

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [mean_over_crops(e, _outcome) for e in evidence]


def _outcome(instance: Instance, crop: CropEvidence | None) -> Outcome:
    colour = requested_colour(instance)
    if instance.mask is None or colour is None or crop is None:
        return judge_colour_in_box(colour, crop)
    if crop.mask_pixel_count < MIN_PIXELS:
        return Unscored(f"mask below {MIN_PIXELS} pixels")
    return Score(float(crop.mask_colour_shares.get(colour, 0.0) >= MIN_MASK_SHARE))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`colour_masked`, if pixels are measured.

    >>> [metric.info.name for metric in metrics({"pixels": "hsv"})]
    ['colour_masked']
    """
    if "pixels" not in scorers:
        return ()
    rule = f"target mask, {MIN_MASK_SHARE:.0%} of it, at least {MIN_PIXELS} pixels"
    how = f"{rule}; without a mask the box, as colour_accuracy"
    variant = f"colour_masked[{how}, {scorers['pixels']}]"
    info = MetricInfo("colour_masked", variant, "Correct colours in masks", "share", Direction.HIGHER, 0.0, 1.0, "1")
    return (MaskedColour(info),)
