"""What may judge pictures: the roles of a stack's scorers, the engines that can fill them, and every engine's settings.

A role is a name in a stack card, ``[scorers.ROLE]``.  The kind of a role says what is asked of it; roles of one kind
beyond the first are told apart by a suffix (``dino_b14``, ``clip_b32``, ``quality_musiq``) or are named here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from layoutmark.errors import LayoutmarkError
from layoutmark.registry.setting_values import checked

DETECTOR, SECOND, CLIP, DINO, QUALITY = "detector", "second_detector", "clip", "dino", "quality"
LPIPS = "lpips"
SEGMENTER = "segmenter"
INCEPTION = "inception"
SUFFIXED = re.compile(r"(clip|dino|quality)_[a-z0-9][a-z0-9_]*")
DINOV2 = "dinov2"

FIT: Mapping[str, object] = {"fit": "squash", "kernel": "bicubic", "shortest": 0}
"""`fit`: squash (whole picture, aspect not kept), crop (shortest side to `shortest`, 0 for the model's side, then the
middle square) or pad (aspect kept, black beside it).  `kernel`: bicubic, bilinear or lanczos, always antialiased."""
ENGINES: Mapping[str, Mapping[str, object]] = {
    "yolo": {"image_size": 640, "nms_iou": 0.7, "names_sha256": "", "masks": False, "end_to_end": False},
    "owlv2": {"image_size": 960, "template": "a photo of a {name}", "nms_iou": 0.7, "confidence": 0.1},
    "grounding-dino": {
        "shortest": 800, "longest": 1333, "template": "{name}", "names_per_prompt": 16, "nms_iou": 0.7,
        "confidence": 0.25,
    },
    "open_clip": {"model": "", "pretrained": "", "image_size": 224, "normalisation": "clip", **FIT},
    "vit": {"image_size": 224, "normalisation": "imagenet", **FIT},
    "timm": {"model": "", "image_size": 224, "normalisation": "imagenet", **FIT},
    "clip-iqa": {
        "model": "", "pretrained": "", "image_size": 224, "normalisation": "clip", **FIT,
        "positive": "a good photo", "negative": "a bad photo",
    },
    "pyiqa": {"model": "clipiqa", "package": "", "low": 0.0, "high": 1.0, "lower_is_better": False},
    "torchmetrics": {"prompt": "quality"},
    "lpips": {"image_size": 224},
    "sam": {},
    "torch-fidelity": {},
}  # fmt: skip
"""Settings of each engine with their defaults."""
FILLS: Mapping[str, tuple[str, ...]] = {
    DETECTOR: ("yolo",),
    SECOND: ("owlv2", "grounding-dino", "yolo"),
    CLIP: ("open_clip",),
    DINO: ("vit", "timm"),
    QUALITY: ("clip-iqa", "pyiqa", "torchmetrics"),
    LPIPS: ("lpips",),
    SEGMENTER: ("sam",),
    INCEPTION: ("torch-fidelity",),
}
"""Engines that can fill a kind of role; the first one is meant where a card names none."""
PROBABILITY = ("clipiqa",)
"""Beginnings of the pyiqa models that give a CLIP-IQA probability, which is what the role `quality` asks for."""
WITHOUT_FILES = ("open_clip", "clip-iqa", "pyiqa", "torchmetrics")
"""Engines whose packages know weights by name, so that a card need not say where they are."""
CHOICES = {
    "fit": ("squash", "crop", "pad"),
    "kernel": ("bicubic", "bilinear", "lanczos"),
    "normalisation": ("clip", "imagenet", "half"),
}


def kind_of(role: str) -> str:
    """Which kind of scorer a role asks for; LayoutmarkError if there is none of that name."""
    if role in FILLS:
        return role
    if role == DINOV2:
        return DINO
    if found := SUFFIXED.fullmatch(role):
        return found[1]
    raise LayoutmarkError(
        "scorers",
        found=f"the unknown scorer {role!r}",
        expected=f"{', '.join(FILLS)}, {DINOV2}, or clip_NAME, dino_NAME, quality_NAME",
        do="Rename the table.",
    )


def engine_of(role: str, engine: str) -> str:
    """The engine that is meant: the one named, or the usual one of the role.  LayoutmarkError if it cannot fill it."""
    able = FILLS[kind_of(role)]
    if engine and engine not in able:
        raise LayoutmarkError(
            f"scorers.{role}", found=f"engine {engine!r}", expected="one of " + ", ".join(able), do="Name one of these."
        )
    return engine or able[0]


def complete(role: str, engine: str, given: Mapping[str, object]) -> dict[str, object]:
    """All settings of a scorer.

    Raises LayoutmarkError for an unknown key (with the closest known one), a value of another type, or one that the
    setting does not take.
    """
    engine = engine_of(role, engine)
    where = f"scorers.{role}, engine {engine}"
    settings = {**ENGINES[engine], **checked(ENGINES[engine], given, where)}
    for key, known in CHOICES.items():
        if key in settings and settings[key] not in known:
            raise _wrong(where, key, settings, "one of " + ", ".join(known))
    for key in ("image_size", "shortest", "longest", "names_per_prompt"):
        value = settings.get(key, 1)
        if not isinstance(value, int) or value < (0 if key == "shortest" and "fit" in settings else 1):
            raise _wrong(where, key, settings, "a number of at least 1")
    for key in ("nms_iou", "confidence"):
        value = settings.get(key, 1.0)
        if not isinstance(value, float) or not 0.0 < value <= 1.0:
            raise _wrong(where, key, settings, "a number in (0, 1]")
    if "{name}" not in str(settings.get("template", "{name}")):
        raise _wrong(where, "template", settings, "a text with {name} in it")
    if role == QUALITY and engine == "pyiqa" and not str(settings["model"]).startswith(PROBABILITY):
        raise _wrong(where, "model", settings, "a CLIP-IQA; another measure is a role of its own, such as quality_NAME")
    return settings


def _wrong(where: str, key: str, settings: Mapping[str, object], expected: str) -> LayoutmarkError:
    return LayoutmarkError(
        f"{where}, setting {key!r}", found=repr(settings[key]), expected=expected, do="Correct the value."
    )
