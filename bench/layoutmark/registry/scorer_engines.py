"""Roles of a stack's scorers, the engines that can fill each role, and the settings of every engine.

A role is a name in a stack card, ``[scorers.ROLE]``.  The kind of a role says what its model computes.  Further roles
of one kind carry a suffix (``dino_b14``, ``clip_b32``, ``quality_musiq``) or a name of their own, listed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from layoutmark.errors import LayoutmarkError
from layoutmark.registry.setting_values import check_settings

DETECTOR, SECOND_DETECTOR, CLIP, DINO, QUALITY = "detector", "second_detector", "clip", "dino", "quality"
LPIPS = "lpips"
SEGMENTER = "segmenter"
INCEPTION = "inception"
SUFFIXED_ROLE = re.compile(r"(clip|dino|quality)_[a-z0-9][a-z0-9_]*")
DINOV2 = "dinov2"

DEFAULT_FITTING: Mapping[str, object] = {"fit": "squash", "kernel": "bicubic", "shortest": 0}
"""`fit`: squash (whole image, aspect ratio not kept), crop (shortest side to `shortest`, 0 for the model's side, then
the centre square) or pad (aspect ratio kept, black bars).  `kernel`: bicubic, bilinear or lanczos, antialiased."""
ENGINE_SETTINGS: Mapping[str, Mapping[str, object]] = {
    "yolo": {"image_size": 640, "nms_iou": 0.7, "names_sha256": "", "masks": False, "end_to_end": False},
    "owlv2": {"image_size": 960, "template": "a photo of a {name}", "nms_iou": 0.7, "confidence": 0.1},
    "grounding-dino": {
        "shortest": 800, "longest": 1333, "template": "{name}", "names_per_prompt": 16, "nms_iou": 0.7,
        "confidence": 0.25,
    },
    "open_clip": {"model": "", "pretrained": "", "image_size": 224, "normalisation": "clip", **DEFAULT_FITTING},
    "vit": {"image_size": 224, "normalisation": "imagenet", **DEFAULT_FITTING},
    "timm": {"model": "", "image_size": 224, "normalisation": "imagenet", **DEFAULT_FITTING},
    "clip-iqa": {
        "model": "", "pretrained": "", "image_size": 224, "normalisation": "clip", **DEFAULT_FITTING,
        "positive": "a good photo", "negative": "a bad photo",
    },
    "pyiqa": {"model": "clipiqa", "package": "", "low": 0.0, "high": 1.0, "lower_is_better": False},
    "torchmetrics": {"prompt": "quality"},
    "lpips": {"image_size": 224},
    "sam": {},
    "torch-fidelity": {},
}  # fmt: skip
"""Settings of each engine with their defaults."""
ENGINES_BY_KIND: Mapping[str, tuple[str, ...]] = {
    DETECTOR: ("yolo",),
    SECOND_DETECTOR: ("owlv2", "grounding-dino", "yolo"),
    CLIP: ("open_clip",),
    DINO: ("vit", "timm"),
    QUALITY: ("clip-iqa", "pyiqa", "torchmetrics"),
    LPIPS: ("lpips",),
    SEGMENTER: ("sam",),
    INCEPTION: ("torch-fidelity",),
}
"""Engines that can fill a kind of role; the first is the default."""
CLIP_IQA_MODEL_PREFIXES = ("clipiqa",)
"""Prefixes of the pyiqa models that return a CLIP-IQA probability, as the role `quality` requires."""
ENGINES_WITH_NAMED_WEIGHTS = ("open_clip", "clip-iqa", "pyiqa", "torchmetrics")
"""Engines whose packages find weights by name, so that a card need not say where they are."""
SETTING_CHOICES = {
    "fit": ("squash", "crop", "pad"),
    "kernel": ("bicubic", "bilinear", "lanczos"),
    "normalisation": ("clip", "imagenet", "half"),
}


def scorer_kind(role: str) -> str:
    """Return the kind of scorer that a role requires.  Raises LayoutmarkError for an unknown role.

    >>> scorer_kind("dino_b14")
    'dino'
    """
    if role in ENGINES_BY_KIND:
        return role
    if role == DINOV2:
        return DINO
    if match := SUFFIXED_ROLE.fullmatch(role):
        return match[1]
    raise LayoutmarkError(
        "scorers",
        found=f"the unknown scorer {role!r}",
        expected=f"{', '.join(ENGINES_BY_KIND)}, {DINOV2}, or clip_NAME, dino_NAME, quality_NAME",
        do="Rename the table.",
    )


def scorer_engine(role: str, engine: str) -> str:
    """Return `engine`, or the role's default if it is empty.  Raises LayoutmarkError if it cannot fill the role.

    >>> scorer_engine("detector", "")
    'yolo'
    """
    engines = ENGINES_BY_KIND[scorer_kind(role)]
    if engine and engine not in engines:
        expected = "one of " + ", ".join(engines)
        raise LayoutmarkError(f"scorers.{role}", found=f"engine {engine!r}", expected=expected, do="Name one of these.")
    return engine or engines[0]


def complete_settings(role: str, engine: str, settings: Mapping[str, object]) -> dict[str, object]:
    """Return all settings of a scorer, those not given with their defaults.

    Raises LayoutmarkError for an unknown key (with the closest known one), a value of the wrong type, or a value that
    the setting does not accept.

    >>> complete_settings("dino", "", {"image_size": 64})["kernel"]
    'bicubic'
    """
    engine = scorer_engine(role, engine)
    location = f"scorers.{role}, engine {engine}"
    settings = {**ENGINE_SETTINGS[engine], **check_settings(ENGINE_SETTINGS[engine], settings, location)}
    for key, choices in SETTING_CHOICES.items():
        if key in settings and settings[key] not in choices:
            raise _invalid_setting(location, key, settings, "one of " + ", ".join(choices))
    for key in ("image_size", "shortest", "longest", "names_per_prompt"):
        value = settings.get(key, 1)
        if not isinstance(value, int) or value < (0 if key == "shortest" and "fit" in settings else 1):
            raise _invalid_setting(location, key, settings, "a number of at least 1")
    for key in ("nms_iou", "confidence"):
        value = settings.get(key, 1.0)
        if not isinstance(value, float) or not 0.0 < value <= 1.0:
            raise _invalid_setting(location, key, settings, "a number in (0, 1]")
    if "{name}" not in str(settings.get("template", "{name}")):
        raise _invalid_setting(location, "template", settings, "a string that contains {name}")
    if role == QUALITY and engine == "pyiqa" and not str(settings["model"]).startswith(CLIP_IQA_MODEL_PREFIXES):
        expected = "a CLIP-IQA model; other measures have roles of their own, such as quality_NAME"
        raise _invalid_setting(location, "model", settings, expected)
    return settings


def _invalid_setting(location: str, key: str, settings: Mapping[str, object], expected: str) -> LayoutmarkError:
    return LayoutmarkError(
        f"{location}, setting {key!r}", found=repr(settings[key]), expected=expected, do="Correct the value."
    )
