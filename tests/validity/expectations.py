"""Expected response of every metric to every dial, written before measuring, with the reason where it is not obvious.

A metric not named for a dial is plotted but not judged there; metrics that no dial judges are listed in `UNJUDGED` with
the reason.  Withdrawn expectations are listed in `REJECTED` with the argument; expectations that a metric does not meet
are listed in `BLIND` with the consequence for users.  Both remain in the table.  Earlier values were known when
`clip_i_detected`, `dino_detected`, `ap_small`, `ap_medium`, `targets_misplaced`, `targets_leaked_identity` and
`targets_wrong_identity` were entered.
"""

from __future__ import annotations

from collections.abc import Mapping

MIN_RANK_CORRELATION = 0.95
"""Minimum rank correlation with the dial that counts as a response."""
LOCALISATION = (
    "ap50", "ap", "ap75", "ap_small", "ap_medium", "ar", "miou", "miou_oracle", "miou_overlap", "recall50",
    "targets_sound", "point_in_box", "scribble_in_box",
    "mask_miou", "mask_ap50", "point_in_mask", "scribble_in_mask",
    "ap50_second", "ap_second", "miou_second", "recall50_second",
)  # fmt: skip
"""Whether objects are in place; `success_rate` is 0 from the first step of a dial that moves every object."""
CROPS = ("clip_i", "dino")
LOOKS = (
    *CROPS, "clip_i_identity", "dino_identity", "clip_i_margin", "dino_margin", "clip_i_detected", "dino_detected",
    "clip_i_masked", "dino_masked", "clip_i_references", "dino_references",
)  # fmt: skip
"""Whether objects look like their references."""
COLOURS = ("colour_accuracy", "colour_masked", "colour_clip")
DISTANCES = ("kid_clip", "kid_dino")
BOXES = ("recall50", "miou", "miou_oracle")
WORSE: Mapping[str, tuple[str, ...]] = {
    "shift": (*LOCALISATION, "targets_misplaced", "dino"),
    "shift, true crops": CROPS,
    "scale": (*LOCALISATION, "dino"),
    "scale, true crops": CROPS,
    "drop": (
        *LOCALISATION, "success_rate", "targets_missing", *CROPS, "clip_i_whole", "dino_whole", "clip_t", *DISTANCES,
    ),
    "duplicate": ("extra_rate", "precision50"),
    "wrong class": (*LOCALISATION, "success_rate", "targets_wrong_class", *CROPS, "clip_t"),
    "swapped identities": (*LOOKS, *COLOURS, "targets_leaked_identity", "clip_t_phrase", "texture_clip"),
    "wrong colour": (
        *LOOKS, *COLOURS, "clip_i_whole", "dino_whole", "targets_wrong_identity", "clip_t", "clip_t_phrase",
    ),
    "wrong style": ("texture_clip", *CROPS),
    "doubled": ("targets_duplicated",),
    "merged": ("targets_merged",),
    "added things": ("extra_rate", "unexplained", "precision50"),
    "other images": (*LOCALISATION, "success_rate", *CROPS, "clip_t", "clip_t_phrase"),
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
"""Metrics that must get worse with a dial, each in its own direction."""
BETTER: Mapping[str, tuple[str, ...]] = {"pasted reference": CROPS, "greyed": ("saturation",)}
"""Metrics that a defect deceives: they are known to rise."""
FLAT: Mapping[str, tuple[str, ...]] = {
    # Boxes are detected in place, independent of what objects look like and of other objects.
    "duplicate": (*BOXES, "mask_miou", "targets_missing"),
    "swapped identities": BOXES,
    "wrong colour": (*BOXES, "mask_miou", "point_in_mask", "detector_agreement"),
    "added things": (*BOXES, "targets_missing"),
    # Detected crops move with the objects, and both detectors follow.
    "shift": ("text_cut", "clip_i_detected", "dino_detected", "detector_agreement"),
    # Every metric that reads images but not prompts.
    "wrong prompt": (
        *LOCALISATION, *LOOKS, *COLOURS, "texture_clip", "success_rate", "precision50", "clip_i_whole", "dino_whole",
        "clip_i_copied", "dino_copied", "clip_t_phrase", "clip_iqa", "contrast", "saturation", "extra_rate",
        "unexplained", "detector_agreement", "targets_missing", "targets_misplaced", "targets_wrong_class",
        "targets_merged", "targets_duplicated", "targets_leaked_identity", "targets_wrong_identity",
    ),
    "long prompts": ("ap50", "miou", *CROPS, "clip_t_phrase", "clip_iqa"),
    # Pixels outside the mask are painted over.
    "other background": ("clip_i_masked", "dino_masked", "colour_masked"),
    "wrong style": ("colour_clip", "colour_masked"),
    # As a set, the images are unchanged.
    "other images": ("clip_iqa", "contrast", "saturation", *DISTANCES),
}  # fmt: skip
"""Metrics that must not change: the interval of the difference between last and first level contains zero."""
UNJUDGED: Mapping[str, str] = {
    "ap_large": "on a canvas of 64 pixels no target is large; same code as `ap_medium` with other bounds",
    "kid_inception": "the miniature stack has no Inception; same code as `kid_dino`",
    "fid_inception": "the miniature stack has no Inception; same code as `fid_dino`",
    "lpips_diversity": (
        "the miniature stack has no LPIPS; `tests/features/test_lpips.py` shows that identical images in all seeds "
        "have distance 0"
    ),
}
"""Metrics that no dial judges, with the reason.  Seconds and memory are not metrics; `tests/generate` tests them."""
BLIND: Mapping[tuple[str, str], str] = {
    ("shift", "clip_i"): (
        "Against portraits, CLIP-I does not notice shifts of up to a third of an object: a crop that shows some "
        "background around the object is framed more like a portrait than the tight box is. Judge placement by the "
        "localisation metrics"
    ),
    ("scale", "clip_i"): (
        "Against portraits, CLIP-I even rises while objects shrink by up to a third, for the same reason. Do not read "
        "it as a measure of size; against true crops it falls"
    ),
    ("greyed", "clip_i"): (
        "CLIP-I falls only after a third of the colour is gone. Judge colour by `colour_accuracy`, and appearance by "
        "DINO, which falls from the first step"
    ),
    ("shift", "ap75"): (
        "From the fourth step on, nothing overlaps its target by 0.75: the value is at its minimum, and ties keep the "
        "rank correlation below 0.95. Read `ap` or mIoU where placement errors are large"
    ),
    ("scale", "ap_medium"): (
        "Only 11 of the 152 targets are medium, in seven categories, so a single matching box is worth 0.14. Read it "
        "where there are many targets of this size"
    ),
    ("shift", "detector_agreement"): (
        "Objects that move towards the centre occlude each other (at the last step, a tenth of them shows less than "
        "0.6 of itself; at the first step, none does), and the detector misses some. Agreement also depends on how "
        "difficult the images are"
    ),
    ("swapped identities", "miou_oracle"): (
        "Appearances are stretched to rectangles of other proportions, and the best box for each target fits slightly "
        "less well"
    ),
    ("other background", "clip_i_masked"): (
        "A quarter of a mask's pixels are half-transparent edges, so the background tints the outline of an object. "
        "The effect is a fiftieth of that of a wrong colour"
    ),
}
"""Expectations that are not met, with the consequence.  They are still measured and shown as known weaknesses."""
REJECTED: Mapping[tuple[str, str], str] = {
    ("harder contrast", "saturation"): (
        "S of HSV is 1 - smallest / largest channel. Stronger contrast about mid-grey first spreads the channels of a "
        "pale colour and then clips them all at white, where S is 0, so there is no direction that S must take. The "
        "dial for it is harder colour"
    ),
}
"""Withdrawn expectations that were wrong in themselves; the argument does not rely on the measurements."""
DIALS_CHANGED: Mapping[str, str] = {
    "duplicate": (
        "Copies are now placed only where they touch no object, and an object without such a place gets no copy: a "
        "copy that hides part of a target is another defect, and changes mIoU"
    ),
    "swapped identities": (
        "The other object's appearance is now stretched to the object's own rectangle: with its own outline the boxes "
        "moved, which mIoU rightly noticed"
    ),
    "blur": (
        "It now reaches 4.8 pixels. DINO is trained to be insensitive to blur of up to a pixel of its input, and "
        "crops of 20 pixels are enlarged threefold, and thus already smooth, before it sees them"
    ),
    "colour cast": (
        "The cast is now pink. Under a red cast, objects that should be red stay right, however strong it is"
    ),
}
"""Dials that first showed a different defect than their name says."""
