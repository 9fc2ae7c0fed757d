"""What every metric must do when a dial is turned; written before measuring, with the reason where it is not plain.

A metric not named for a dial is shown in the plot and not judged.  What was expected once and is no more stands in
`REJECTED` with its argument; what is expected of a metric in principle and not met stands in `BLIND`, with what that
means to a user.  Neither leaves the table.
"""

from __future__ import annotations

from collections.abc import Mapping

STEEP = 0.95
"""Least rank correlation with the dial that counts as an answer."""
PLACE = ("ap50", "ap", "miou", "recall50", "success_rate", "targets_sound")
LOOKS = ("clip_i", "dino", "dino_identity", "dino_margin", "colour_accuracy")
WORSE: Mapping[str, tuple[str, ...]] = {
    "shift": ("ap50", "ap", "miou", "recall50", "targets_sound", "dino", "point_in_box"),
    "shift, true crops": ("clip_i", "dino"),
    "scale": ("ap50", "ap", "miou", "recall50", "targets_sound", "dino"),
    "scale, true crops": ("clip_i", "dino"),
    "drop": (*PLACE, "targets_missing", "clip_i", "dino", "clip_t"),
    "duplicate": ("extra_rate", "precision50"),
    "wrong class": (*PLACE, "targets_wrong_class", "clip_i", "dino", "clip_t"),
    "swapped identities": (*LOOKS, "clip_t_phrase"),
    "wrong colour": ("clip_i", "dino", "colour_accuracy", "clip_t", "clip_t_phrase"),
    "wrong prompt": ("clip_t",),
    "blur": ("clip_iqa", "ap", "dino"),
    "noise": ("clip_iqa", "ap", "dino"),
    "colour cast": ("colour_accuracy", "clip_i", "dino", "saturation"),
    "greyed": ("colour_accuracy", "dino", "clip_t_phrase"),
    "harder contrast": ("contrast", "clip_iqa"),
    "harder colour": ("saturation",),
}
"""Which metrics must get worse with a dial, each in its own direction."""
BETTER: Mapping[str, tuple[str, ...]] = {"pasted reference": ("clip_i", "dino"), "greyed": ("saturation",)}
"""Which metrics a defect deceives: they rise, and that is known."""
FLAT: Mapping[str, tuple[str, ...]] = {
    "duplicate": ("recall50", "miou"),
    "swapped identities": ("recall50", "miou"),
    "wrong colour": ("recall50", "miou"),
    "wrong prompt": ("ap50", "ap", "miou", "clip_i", "dino", "clip_iqa", "contrast", "extra_rate"),
    "shift": ("text_cut",),
}
"""Which metrics must not move: the interval of the difference between the last level and none holds zero."""
BLIND: Mapping[tuple[str, str], str] = {
    ("shift", "clip_i"): (
        "Against portraits CLIP-I does not see shifts of up to a third of a thing: a crop that shows some ground "
        "around the thing is framed more like a portrait than the tight box is. Judge places by the metrics of place"
    ),
    ("scale", "clip_i"): (
        "Against portraits CLIP-I even rises while things shrink by up to a third, for the same reason. Do not read it "
        "as a measure of size; against true crops it falls"
    ),
    ("greyed", "clip_i"): (
        "Up to a third of the colour can go before CLIP-I falls. Judge colours by `colour_accuracy`, and looks by "
        "DINO, which falls from the first step"
    ),
}
"""Expected in principle and not met, with the consequence.  Still measured, and shown as what they are."""
REJECTED: Mapping[tuple[str, str], str] = {
    ("harder contrast", "saturation"): (
        "S of HSV is 1 - least / greatest channel. Contrast about mid-grey first spreads the channels of a pale "
        "colour, then clips them all at white, where S is 0: there is no direction that S must take. "
        "The dial for it is harder colour"
    ),
}
"""Once expected, and wrong in itself; the argument does not lean on the figures."""
DIALS_CHANGED: Mapping[str, str] = {
    "duplicate": "Copies now lie only where they touch no thing, and a thing without such a place has no copy: a copy "
    "that hides part of a target is another defect, and moves mIoU",
    "swapped identities": "The other thing's look is now stretched over the thing's own rectangle: with its own "
    "outline the boxes moved, which mIoU rightly saw",
    "blur": "It now reaches 4.8 pixels. DINO is trained to disregard blur of up to a pixel of its input, and crops of "
    "20 pixels are enlarged three times, and so smooth already, before it sees them",
    "colour cast": "The cast is now pink. Under a red one the things that should be red stay right, however strong",
}
"""Dials that first showed another defect than the one they name."""
