"""The scorers of a stack: full names and digests without loading, and each model when it is first used."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.evidence import Detections
from layoutmark.features import clip, clip_iqa, detector, dino, engine_modules, segmenter
from layoutmark.features.clip import OpenClip
from layoutmark.features.images import Floats
from layoutmark.features.lpips import Lpips
from layoutmark.features.scorer_folder import folder_digest
from layoutmark.features.scorer_spec import ScorerSpec, spec_for_role
from layoutmark.features.segmenter import Segmenter
from layoutmark.metrics.matching import MIN_CONFIDENCE
from layoutmark.provenance import digest
from layoutmark.registry.card_types import StackCard
from layoutmark.registry.scorer_engines import (
    CLIP,
    DETECTOR,
    DINO,
    LPIPS,
    QUALITY,
    SECOND_DETECTOR,
    SEGMENTER,
    scorer_kind,
)


class Detector(Protocol):
    """Detects instances of the categories `names`."""

    names: tuple[str, ...]

    def detect(self, images: Sequence[Pixels]) -> list[Detections]:
        """Return the detections of each RGB image, best first; boxes normalised xyxy."""
        ...


class Encoder(Protocol):
    """Encodes images as vectors."""

    def images(self, images: Sequence[Pixels]) -> Floats:
        """Return unit vectors (n, d) of RGB images."""
        ...


class Quality(Protocol):
    """Scores the quality of images."""

    def scores(self, images: Sequence[Pixels]) -> npt.NDArray[np.float64]:
        """Return one finite number (n,) per RGB image."""
        ...


class Scorers:
    """The scorers that `card` declares, from folders below `root` (the stack's own folder) or by name.

    `names` and `digests` need no heavy package; the digest of weights that were never downloaded downloads them.  A
    scorer that the card does not declare, or whose files are missing, raises LayoutmarkError when used; a package that
    is not installed raises MissingPackageError.
    """

    def __init__(self, card: StackCard, root: Path, device: str | None = "cpu") -> None:
        self._card, self._root, self._requested_device = card, root, device
        self._loaded: dict[str, Any] = {}

    def filled_roles(self) -> tuple[str, ...]:
        """Return the roles that have a scorer: detector, clip, dino, quality, segmenter, dinov2 and others."""
        return tuple(sorted(self._card.scorers))

    def roles(self, kind: str) -> tuple[str, ...]:
        """Return the filled roles of one kind, for example dino and dinov2 for the kind dino."""
        return tuple(role for role in self.filled_roles() if scorer_kind(role) == kind)

    def settings(self, role: str) -> dict[str, object]:
        """Return all settings of a scorer, defaults included."""
        return self._spec(role).settings

    def names(self) -> dict[str, str]:
        """Return the full name of each scorer: weights, version, and the settings that change its output."""
        return {role: self._name(self._spec(role)) for role in self.filled_roles()}

    def metric_facts(self) -> dict[str, str]:
        """Return what metrics need to know besides the scorers' names: ``masks``, and others named with a ``/``."""
        facts = {} if (masks := self.masks()) is None else {"masks": masks}
        if SECOND_DETECTOR in self.filled_roles():
            confidence = self.settings(SECOND_DETECTOR).get("confidence", MIN_CONFIDENCE)
            facts[f"{SECOND_DETECTOR}/confidence"] = f"{confidence}"
        for role in self.roles(QUALITY):
            if role != QUALITY:
                s = self.settings(role)
                better = "lower" if s.get("lower_is_better") else "higher"
                facts[f"{role}/scale"] = f"{s.get('low', 0.0)} {s.get('high', 1.0)} {better}"
        return facts

    def vocabulary(self) -> tuple[str, ...]:
        """Return the detector's category names in class order, checked against their sha256."""
        spec = self._spec(DETECTOR)
        return detector.read_names(spec.folder()) if spec.scorer.folder else self.detector.names

    def digests(self) -> dict[str, str]:
        """Return the sha256 of each scorer's weights, configuration and settings.

        Raises LayoutmarkError if a file differs from the sha256 in the card.
        """
        return {role: self._digest(self._spec(role)) for role in self.filled_roles()}

    @property
    def detector(self) -> Detector:
        """The detector; needs ultralytics."""
        model: Detector = self._load(DETECTOR)
        return model

    @property
    def clip(self) -> OpenClip:
        """The CLIP; needs open_clip."""
        return self.text_encoder(CLIP)

    @property
    def dino(self) -> Encoder:
        """The DINO-trained ViT; needs transformers."""
        return self.encoder(DINO)

    @property
    def quality(self) -> Quality:
        """CLIP-IQA; shares the CLIP if both are in one folder."""
        return self.get_quality_scorer(QUALITY)

    @property
    def lpips(self) -> Lpips:
        """LPIPS; needs torch."""
        model: Lpips = self._load(LPIPS)
        return model

    @property
    def segmenter(self) -> Segmenter:
        """The segmenter that gives detections their masks; needs torch."""
        model: Segmenter = self._load(SEGMENTER)
        return model

    def masks(self) -> str | None:
        """Return which detections have masks and where these come from, for metric names; None without masks.

        A segmenter's masks replace the detector's own.
        """
        if SEGMENTER in self.filled_roles():
            return f"masks of detections of conf>={segmenter.MIN_CONFIDENCE_FOR_MASK} by {self.names()[SEGMENTER]}"
        if DETECTOR in self.filled_roles() and self.settings(DETECTOR).get("masks"):
            return "masks by the detector"
        return None

    def encoder(self, role: str) -> Encoder:
        """Return a scorer of kind clip, dino or inception."""
        model: Encoder = self._load(role)
        return model

    def text_encoder(self, role: str) -> OpenClip:
        """Return a scorer of kind clip."""
        model: OpenClip = self._load(role)
        return model

    def get_quality_scorer(self, role: str) -> Quality:
        """Return a scorer of kind quality."""
        model: Quality = self._load(role)
        return model

    def second_detections(self, images: Sequence[Pixels], categories: Sequence[str]) -> list[Detections]:
        """Return the second detector's detections of these categories; one with fixed classes ignores `categories`."""
        model = self._load(SECOND_DETECTOR)
        detections: list[Detections] = (
            model.find(images, categories) if hasattr(model, "find") else model.detect(images)
        )  # fmt: skip
        return detections

    @cached_property
    def _device(self) -> str:
        """The requested device, or cuda if available; this imports torch, so it is evaluated only to load a model."""
        if self._requested_device:
            return self._requested_device
        try:
            import torch
        except ModuleNotFoundError:
            return "cpu"
        return "cuda" if torch.cuda.is_available() else "cpu"

    def _load(self, role: str) -> Any:
        spec = self._spec(role)
        if role not in self._loaded:
            model = self._load_miniature(spec) if spec.is_miniature else engine_modules.load(spec, self._device)
            self._loaded[role] = model
        return self._loaded[role]

    def _load_miniature(self, spec: ScorerSpec) -> Any:
        """Load a scorer in the miniature stack's folder format."""
        folder = spec.folder()
        if spec.kind in (DETECTOR, SECOND_DETECTOR):
            return detector.YoloDetector(folder, self._device)
        if spec.kind == CLIP:
            return OpenClip(folder, self._device)
        if spec.kind == DINO:
            return dino.DinoViT(folder, self._device)
        if spec.kind == SEGMENTER:
            return segmenter.BoxUNet(folder, self._device)
        clip_scorer = self._card.scorers.get(CLIP)
        has_own_clip = clip_scorer is None or clip_scorer.engine != "" or clip_scorer.folder != spec.scorer.folder
        model = OpenClip(folder, self._device) if has_own_clip else self.clip
        return clip_iqa.ClipIqa(model, *self._prompts(spec))

    def _name(self, spec: ScorerSpec) -> str:
        if not spec.is_miniature:
            return engine_modules.describe(spec)
        folder = spec.folder()
        if spec.kind in (DETECTOR, SECOND_DETECTOR):
            detail = f"letterbox {detector.read_image_size(folder)}, NMS IoU {detector.NMS_IOU}, multi-label"
        elif spec.kind == DINO:
            detail = f"class token, bicubic squash {dino.read_image_size(folder)}"
        elif spec.kind == SEGMENTER:
            detail = segmenter.describe_settings(folder)
        else:
            detail = f"bicubic squash {clip.read_image_size(folder)}"
        if spec.kind == QUALITY:
            detail += ", {!r} against {!r}".format(*self._prompts(spec))
        return f"{self._card.name}-{spec.role} {spec.scorer.version} ({detail})"

    def _digest(self, spec: ScorerSpec) -> str:
        if not spec.is_miniature:
            return engine_modules.scorer_digest(spec)
        files = folder_digest(spec.folder(), spec.scorer.sha256)
        return digest({"files": files, "settings": dict(spec.scorer.settings), "version": spec.scorer.version})

    def _prompts(self, spec: ScorerSpec) -> tuple[str, str]:
        return str(spec.settings["positive"]), str(spec.settings["negative"])

    def _spec(self, role: str) -> ScorerSpec:
        return spec_for_role(self._card, role, self._root)
