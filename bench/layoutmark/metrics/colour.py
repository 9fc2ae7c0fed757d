"""Does each object have the requested colour? Shares of basic colours (by HSV) in its target box.

COCO-MIG (Zhou et al., MIGC, CVPR 2024) asks whether a fifth of an object's mask has the colour. A box also contains
background, so the rule here is different: the colour must be the most frequent one in the box and cover at least a
twentieth of it. On the true images of suite `mini`, 86 % of the objects pass by their own colour and 2 % by another
one. Boxes with few pixels are not assessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import CropEvidence, Evidence, SampleOutcome
from layoutmark.layout import Instance
from layoutmark.metrics.aggregation import mean_over_crops
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

COLOUR_ATTRIBUTES = ("colour", "color", "tint")
"""Names of the attributes that may hold a colour."""
BASIC_COLOURS = (
    "red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "black", "white", "grey",
)  # fmt: skip
ACHROMATIC_COLOURS = ("black", "white", "grey")
MIN_BOX_SHARE, MIN_PIXELS = 0.05, 100


def requested_colour(instance: Instance) -> str | None:
    """The basic colour that an instance should have, or None.

    >>> from layoutmark.metrics.examples import example_image
    >>> requested_colour(example_image(instance={"attributes": {"color": "Gray"}}).sample.layout.instances[0])
    'grey'
    """
    for name in COLOUR_ATTRIBUTES:
        word = instance.attributes.get(name, "").lower()
        word = "grey" if word == "gray" else word
        if word in BASIC_COLOURS:
            return word
    return None


@dataclass(frozen=True)
class ColourAccuracy:
    """Share of instances whose target box has the requested colour; range [0, 1].

    >>> from layoutmark.metrics.examples import example_image
    >>> crops = [{"colour_shares": {"red": 0.4, "blue": 0.3}, "pixel_count": 400}]
    >>> image = example_image(instance={"attributes": {"colour": "red"}}, crops=crops)
    >>> metrics({"pixels": "hsv"})[0].outcomes([image])[0].outcome
    Score(value=1.0)
    """

    info: MetricInfo

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [mean_over_crops(e, lambda i, crop: judge_colour_in_box(requested_colour(i), crop)) for e in evidence]


def judge_colour_in_box(colour: str | None, crop: CropEvidence | None) -> Outcome:
    """1 if `colour` is the most frequent colour of the target box and covers at least `MIN_BOX_SHARE` of it, else 0.

    Black, white and grey are compared with all colours; other colours only with each other.

    >>> judge_colour_in_box("red", CropEvidence("cat", {}, colour_shares={"red": 0.2, "grey": 0.7}, pixel_count=400))
    Score(value=1.0)
    """
    if colour is None:
        return Unscored("no colour asked for")
    if crop is None or not crop.colour_shares:
        return Unscored("no colours stored")
    if crop.pixel_count < MIN_PIXELS:
        return Unscored(f"box below {MIN_PIXELS} pixels")
    share = crop.colour_shares.get(colour, 0.0)
    # A grey wall behind a red object must not outvote it, but a grey object has to exceed every colour.
    rivals = [
        v for name, v in crop.colour_shares.items() if colour in ACHROMATIC_COLOURS or name not in ACHROMATIC_COLOURS
    ]
    return Score(float(share >= MIN_BOX_SHARE and share >= max(rivals)))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """`colour_accuracy`, if pixels are measured.

    >>> [metric.info.name for metric in metrics({"pixels": "hsv"})]
    ['colour_accuracy']
    """
    if "pixels" not in scorers:
        return ()
    how = f"target box, leads and has {MIN_BOX_SHARE:.0%}, at least {MIN_PIXELS} pixels, {scorers['pixels']}"
    info = MetricInfo(
        "colour_accuracy", f"colour_accuracy[{how}]", "Correct colours", "share", Direction.HIGHER, 0.0, 1.0, "1"
    )
    return (ColourAccuracy(info),)
