"""What every metric must do when a dial is turned; written before measuring, with the reason where it is not plain.

A metric not named for a dial is shown in the plot and not judged there; one that no dial judges stands in `UNJUDGED`
with the reason.  What was expected once and is no more stands in `REJECTED` with its argument; what is expected of a
metric in principle and not met stands in `BLIND`, with what that means to a user.  Neither leaves the table.  Earlier
values were in sight when `clip_i_detected`, `dino_detected`, `ap_small`, `ap_medium`, `targets_misplaced`,
`targets_leaked_identity` and `targets_wrong_identity` were entered.
"""

from __future__ import annotations

from collections.abc import Mapping

STEEP = 0.95
"""Least rank correlation with the dial that counts as an answer."""
FOUND = (
    "ap50", "ap", "ap75", "ap_small", "ap_medium", "ar", "miou", "miou_oracle", "miou_overlap", "recall50",
    "targets_sound", "point_in_box", "scribble_in_box",
    "mask_miou", "mask_ap50", "point_in_mask", "scribble_in_mask",
    "ap50_second", "ap_second", "miou_second", "recall50_second",
)  # fmt: skip
"""Whether things are where they should be; `success_rate` is 0 from the first step of a dial that moves every thing."""
CROPS = ("clip_i", "dino")
LOOKS = (
    *CROPS, "clip_i_identity", "dino_identity", "clip_i_margin", "dino_margin", "clip_i_detected", "dino_detected",
    "clip_i_masked", "dino_masked", "clip_i_references", "dino_references",
)  # fmt: skip
"""Whether they look like their references."""
COLOURS = ("colour_accuracy", "colour_masked", "colour_clip")
DISTANCES = ("kid_clip", "kid_dino")
BOXES = ("recall50", "miou", "miou_oracle")
WORSE: Mapping[str, tuple[str, ...]] = {
    "shift": (*FOUND, "targets_misplaced", "dino"),
    "shift, true crops": CROPS,
    "scale": (*FOUND, "dino"),
    "scale, true crops": CROPS,
    "drop": (*FOUND, "success_rate", "targets_missing", *CROPS, "clip_i_whole", "dino_whole", "clip_t", *DISTANCES),
    "duplicate": ("extra_rate", "precision50"),
    "wrong class": (*FOUND, "success_rate", "targets_wrong_class", *CROPS, "clip_t"),
    "swapped identities": (*LOOKS, *COLOURS, "targets_leaked_identity", "clip_t_phrase", "texture_clip"),
    "wrong colour": (
        *LOOKS, *COLOURS, "clip_i_whole", "dino_whole", "targets_wrong_identity", "clip_t", "clip_t_phrase",
    ),
    "wrong style": ("texture_clip", *CROPS),
    "doubled": ("targets_duplicated",),
    "merged": ("targets_merged",),
    "added things": ("extra_rate", "unexplained", "precision50"),
    "other pictures": (*FOUND, "success_rate", *CROPS, "clip_t", "clip_t_phrase"),
    "pasted reference": ("clip_i_copied", "dino_copied"),
    "same in every seed": ("clip_i_diversity", "dino_diversity"),
    "wrong prompt": ("clip_t",),
    "long prompts": ("text_cut",),
    "blur": ("clip_iqa", "ap", "mask_miou", "dino", *DISTANCES),
    "noise": ("clip_iqa", "ap", "mask_miou", "dino", "detector_agreement", *DISTANCES),
    "colour cast": (*COLOURS, *CROPS, "saturation", *DISTANCES),
    "greyed": (*COLOURS, "dino", "clip_t_phrase", *DISTANCES),
    "harder contrast": ("contrast", "clip_iqa"),
    "harder colour": ("saturation",),
    "blur, 2,048 scenes": ("fid_clip", "fid_dino"),
}  # fmt: skip
"""Which metrics must get worse with a dial, each in its own direction."""
BETTER: Mapping[str, tuple[str, ...]] = {"pasted reference": CROPS, "greyed": ("saturation",)}
"""Which metrics a defect deceives: they rise, and that is known."""
FLAT: Mapping[str, tuple[str, ...]] = {
    # Boxes are found where they were, whatever the things look like, and whatever else is there.
    "duplicate": (*BOXES, "mask_miou", "targets_missing"),
    "swapped identities": BOXES,
    "wrong colour": (*BOXES, "mask_miou", "point_in_mask", "detector_agreement"),
    "added things": (*BOXES, "targets_missing"),
    # What is found is looked at where it is found; both detectors follow it.
    "shift": ("text_cut", "clip_i_detected", "dino_detected", "detector_agreement"),
    # All that looks at pictures and not at words.
    "wrong prompt": (
        *FOUND, *LOOKS, *COLOURS, "texture_clip", "success_rate", "precision50", "clip_i_whole", "dino_whole",
        "clip_i_copied", "dino_copied", "clip_t_phrase", "clip_iqa", "contrast", "saturation", "extra_rate",
        "unexplained", "detector_agreement", "targets_missing", "targets_misplaced", "targets_wrong_class",
        "targets_merged", "targets_duplicated", "targets_leaked_identity", "targets_wrong_identity",
    ),
    "long prompts": ("ap50", "miou", *CROPS, "clip_t_phrase", "clip_iqa"),
    # What lies outside the mask is painted over.
    "other background": ("clip_i_masked", "dino_masked", "colour_masked"),
    "wrong style": ("colour_clip", "colour_masked"),
    # As a set they are the same pictures.
    "other pictures": ("clip_iqa", "contrast", "saturation", *DISTANCES),
}  # fmt: skip
"""Which metrics must not move: the interval of the difference between the last level and none holds zero."""
UNJUDGED: Mapping[str, str] = {
    "ap_large": "on a canvas of 64 pixels nothing is large; the code is that of `ap_medium` with other bounds",
    "kid_inception": "the miniature stack has no Inception; the code is that of `kid_dino`",
    "fid_inception": "the miniature stack has no Inception; the code is that of `fid_dino`",
    "lpips_diversity": "the miniature stack has no LPIPS; the same pictures in every seed are at a distance of 0 by "
    "`tests/features/test_lpips.py`",
}
"""Metrics that no dial judges, and why.  Seconds and memory are no metrics: `tests/generate` holds them."""
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
    ("shift", "ap75"): (
        "From the fourth step on nothing overlaps its target by 0.75: the value is at its floor, and equal values rank "
        "below 0.95. Read `ap` or mIoU where errors of place are large"
    ),
    ("scale", "ap_medium"): (
        "11 of the 152 targets are medium, of seven categories: one box that fits is worth 0.14. Read it where there "
        "are many targets of the size"
    ),
    ("shift", "detector_agreement"): (
        "Things that move towards the middle cover one another (a tenth of them shows less than 0.6 of itself at the "
        "last step, none at the first), and the detector misses some. Agreement tells how hard pictures are, too"
    ),
    ("swapped identities", "miou_oracle"): (
        "Looks are stretched over rectangles of other proportions, and the best box for each fits a little less well"
    ),
    ("other background", "clip_i_masked"): (
        "A quarter of a mask's pixels are half see-through edges, so the ground behind a thing tints its outline. What "
        "it moves is a fiftieth of what a wrong colour does"
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
