"""Has each thing the colour that was asked for, counted over its mask: the rule of COCO-MIG.

At least a fifth of the pixels must have the colour (Zhou et al., MIGC, CVPR 2024; there of the mask that a segmenter
finds, here of the mask that was asked for).  An instance without a mask is judged by its box as `colour_accuracy` does,
which is another rule; the two are never mixed in one instance, and a suite has masks or has none.  Few pixels are not
assessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import CropEvidence, Evidence, SampleOutcome
from layoutmark.layout import Instance
from layoutmark.metrics.aggregation import mean_over_crops
from layoutmark.metrics.colour import LEAST_PIXELS, right_in_box, wanted_colour
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

SHARE = 0.2


@dataclass(frozen=True)
class MaskedColour:
    """The share of instances whose target mask, or else target box, has the wanted colour."""

    info: MetricInfo

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [mean_over_crops(e, _right) for e in evidence]


def _right(instance: Instance, crop: CropEvidence | None) -> Outcome:
    colour = wanted_colour(instance)
    if instance.mask is None or colour is None or crop is None:
        return right_in_box(colour, crop)
    if crop.mask_pixels < LEAST_PIXELS:
        return Unscored(f"mask below {LEAST_PIXELS} pixels")
    return Score(float(crop.mask_colours.get(colour, 0.0) >= SHARE))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`colour_masked`, where pixels are looked at."""
    if "pixels" not in scorers:
        return ()
    how = f"target mask, {SHARE:.0%} of it, at least {LEAST_PIXELS} pixels; without a mask the box, as colour_accuracy"
    variant = f"colour_masked[{how}, {scorers['pixels']}]"
    info = MetricInfo("colour_masked", variant, "Colours right, in masks", "share", Direction.HIGHER, 0.0, 1.0, "1")
    return (MaskedColour(info),)
