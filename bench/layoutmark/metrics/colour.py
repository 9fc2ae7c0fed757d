"""Has each thing the colour that was asked for?  Shares of basic colours in its target box, by HSV.

COCO-MIG (Zhou et al., MIGC, CVPR 2024) asks whether a fifth of a thing's mask has the colour.  Here a box is looked at,
which holds background too, so the rule is another: the colour leads among the colours of the box and has at least a
twentieth of it.  On the true pictures of suite `mini` 86 % of the things pass by their own colour and 2 % by another.
A box of few pixels is not assessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import CropEvidence, Evidence, SampleOutcome
from layoutmark.layout import Instance
from layoutmark.metrics.aggregation import mean_over_crops
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

KEYS = ("colour", "color", "tint")
"""Names of an instance's attribute that may hold a colour word."""
COLOURS = (
    "red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "black", "white", "grey",
)  # fmt: skip
GREYS = ("black", "white", "grey")
SHARE, LEAST_PIXELS = 0.05, 100


def wanted_colour(instance: Instance) -> str | None:
    """The basic colour an instance was asked to have, or None."""
    for key in KEYS:
        word = instance.attributes.get(key, "").lower()
        word = "grey" if word == "gray" else word
        if word in COLOURS:
            return word
    return None


@dataclass(frozen=True)
class ColourAccuracy:
    """The share of instances whose target box has the wanted colour."""

    info: MetricInfo

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [mean_over_crops(e, lambda i, crop: right_in_box(wanted_colour(i), crop)) for e in evidence]


def right_in_box(colour: str | None, crop: CropEvidence | None) -> Outcome:
    """1 if the colour leads in the target box and has `SHARE` of it, else 0."""
    if colour is None:
        return Unscored("no colour asked for")
    if crop is None or not crop.colours:
        return Unscored("no colours stored")
    if crop.pixels < LEAST_PIXELS:
        return Unscored(f"box below {LEAST_PIXELS} pixels")
    share = crop.colours.get(colour, 0.0)
    # A grey wall behind a red thing must not outvote it, but a grey thing has to lead over every colour.
    rivals = [v for name, v in crop.colours.items() if colour in GREYS or name not in GREYS]
    return Score(float(share >= SHARE and share >= max(rivals)))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`colour_accuracy`, where pixels are looked at."""
    if "pixels" not in scorers:
        return ()
    how = f"target box, leads and has {SHARE:.0%}, at least {LEAST_PIXELS} pixels, {scorers['pixels']}"
    info = MetricInfo(
        "colour_accuracy", f"colour_accuracy[{how}]", "Colours right", "share", Direction.HIGHER, 0.0, 1.0, "1"
    )
    return (ColourAccuracy(info),)
