"""The scorers of a stack: their full names and digests at once, each model when it is first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.evidence import Detections
from layoutmark.features import clip, detector, dino, segmenter
from layoutmark.features import clip_iqa as quality
from layoutmark.features import engine_modules as loading
from layoutmark.features.clip import OpenClip
from layoutmark.features.images import Floats
from layoutmark.features.lpips import Lpips
from layoutmark.features.scorer_folder import folder_digest
from layoutmark.features.scorer_spec import Spec, spec_of
from layoutmark.features.segmenter import Segmenter
from layoutmark.metrics.matching import CONFIDENCE
from layoutmark.provenance import digest
from layoutmark.registry.card_types import StackCard
from layoutmark.registry.scorer_engines import CLIP, DETECTOR, DINO, LPIPS, QUALITY, SECOND, SEGMENTER, kind_of


class Detector(Protocol):
    """Finds things of the categories `names`."""

    names: tuple[str, ...]

    def detect(self, images: Sequence[Pixels]) -> list[Detections]:
        """Detections of each RGB picture, best first, boxes normalised xyxy on it."""
        ...


class Encoder(Protocol):
    """Says what pictures look like."""

    def images(self, images: Sequence[Pixels]) -> Floats:
        """Unit vectors (n, d) of RGB pictures."""
        ...


class Quality(Protocol):
    """Says how good pictures look."""

    def scores(self, images: Sequence[Pixels]) -> npt.NDArray[np.float64]:
        """One finite number (n,) for each RGB picture."""
        ...


class Scorers:
    """The scorers that `card` declares, from folders below `root` (the stack's own folder) or by name.

    `names` and `digests` need no heavy package; the digest of weights that were never fetched fetches them.  Asking for
    a scorer that the card does not declare, or whose files are not there, raises LayoutmarkError; a package that is not
    installed raises MissingPackage.
    """

    def __init__(self, card: StackCard, root: Path, device: str | None = "cpu") -> None:
        self._card, self._root, self._asked = card, root, device
        self._loaded: dict[str, Any] = {}

    def kinds(self) -> tuple[str, ...]:
        """Roles that are filled: detector, clip, dino, quality, segmenter, second_detector, dinov2 and others."""
        return tuple(sorted(self._card.scorers))

    def roles(self, kind: str) -> tuple[str, ...]:
        """The roles of one kind: of dino for example dino and dinov2."""
        return tuple(role for role in self.kinds() if kind_of(role) == kind)

    def settings(self, role: str) -> dict[str, object]:
        """All settings of a scorer."""
        return self._spec(role).settings

    def names(self) -> dict[str, str]:
        """The full name of each scorer: weights, version, and the settings that change what it says."""
        return {role: self._name(self._spec(role)) for role in self.kinds()}

    def facts(self) -> dict[str, str]:
        """What metrics must know of scorers besides their names: ``masks``, and others under names with a ``/``."""
        found = {} if (masks := self.masks()) is None else {"masks": masks}
        if SECOND in self.kinds():
            found[f"{SECOND}/confidence"] = f"{self.settings(SECOND).get('confidence', CONFIDENCE)}"
        for role in self.roles(QUALITY):
            if role != QUALITY:
                s = self.settings(role)
                better = "lower" if s.get("lower_is_better") else "higher"
                found[f"{role}/scale"] = f"{s.get('low', 0.0)} {s.get('high', 1.0)} {better}"
        return found

    def vocabulary(self) -> tuple[str, ...]:
        """Category names of the detector in class order, checked against their sha256."""
        spec = self._spec(DETECTOR)
        return detector.read_names(spec.folder()) if spec.scorer.folder else self.detector.names

    def digests(self) -> dict[str, str]:
        """sha256 of each scorer's weights, configuration and settings.

        Raises LayoutmarkError when a file differs from the sha256 in the card.
        """
        return {role: self._digest(self._spec(role)) for role in self.kinds()}

    @property
    def detector(self) -> Detector:
        """The detector; needs ultralytics."""
        found: Detector = self._load(DETECTOR)
        return found

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
        """CLIP-IQA; shares the CLIP when both live in one folder."""
        return self.quality_of(QUALITY)

    @property
    def lpips(self) -> Lpips:
        """LPIPS; needs torch."""
        found: Lpips = self._load(LPIPS)
        return found

    @property
    def segmenter(self) -> Segmenter:
        """The segmenter that gives detections their masks; needs torch."""
        found: Segmenter = self._load(SEGMENTER)
        return found

    def masks(self) -> str | None:
        """Which detections have masks and what gives them, for the names of metrics; None if nothing does.

        Where there are both, masks of the segmenter take the place of the detector's own.
        """
        if SEGMENTER in self.kinds():
            return f"masks of detections of conf>={segmenter.CONFIDENCE} by {self.names()[SEGMENTER]}"
        if DETECTOR in self.kinds() and self.settings(DETECTOR).get("masks"):
            return "masks by the detector"
        return None

    def encoder(self, role: str) -> Encoder:
        """Any scorer of the kinds clip and dino."""
        found: Encoder = self._load(role)
        return found

    def text_encoder(self, role: str) -> OpenClip:
        """Any scorer of the kind clip."""
        found: OpenClip = self._load(role)
        return found

    def quality_of(self, role: str) -> Quality:
        """Any scorer of the kind quality."""
        found: Quality = self._load(role)
        return found

    def second_opinion(self, images: Sequence[Pixels], categories: Sequence[str]) -> list[Detections]:
        """What the second detector sees of these categories; one with names of its own is not asked by category."""
        model = self._load(SECOND)
        found: list[Detections] = model.find(images, categories) if hasattr(model, "find") else model.detect(images)
        return found

    @cached_property
    def _device(self) -> str:
        """The device asked for, or cuda if there is one; which needs torch, so nothing asks before a model does."""
        if self._asked:
            return self._asked
        try:
            import torch
        except ModuleNotFoundError:
            return "cpu"
        return "cuda" if torch.cuda.is_available() else "cpu"

    def _load(self, role: str) -> Any:
        spec = self._spec(role)
        if role not in self._loaded:
            self._loaded[role] = self._plain(spec) if spec.plain else loading.load(spec, self._device)
        return self._loaded[role]

    def _plain(self, spec: Spec) -> Any:
        """A scorer in the form of the miniature stack."""
        folder = spec.folder()
        if spec.kind in (DETECTOR, SECOND):
            return detector.YoloDetector(folder, self._device)
        if spec.kind == CLIP:
            return OpenClip(folder, self._device)
        if spec.kind == DINO:
            return dino.DinoViT(folder, self._device)
        if spec.kind == SEGMENTER:
            return segmenter.BoxUNet(folder, self._device)
        shared = self._card.scorers.get(CLIP)
        own = shared is None or shared.engine != "" or shared.folder != spec.scorer.folder
        model = OpenClip(folder, self._device) if own else self.clip
        return quality.ClipIqa(model, *self._prompts(spec))

    def _name(self, spec: Spec) -> str:
        if not spec.plain:
            return loading.describe(spec)
        folder = spec.folder()
        if spec.kind in (DETECTOR, SECOND):
            detail = f"letterbox {detector.read_image_size(folder)}, NMS IoU {detector.NMS_IOU}, multi-label"
        elif spec.kind == DINO:
            detail = f"class token, bicubic squash {dino.read_image_size(folder)}"
        elif spec.kind == SEGMENTER:
            detail = segmenter.described(folder)
        else:
            detail = f"bicubic squash {clip.read_image_size(folder)}"
        if spec.kind == QUALITY:
            detail += ", {!r} against {!r}".format(*self._prompts(spec))
        return f"{self._card.name}-{spec.role} {spec.scorer.version} ({detail})"

    def _digest(self, spec: Spec) -> str:
        if not spec.plain:
            return loading.scorer_digest(spec)
        files = folder_digest(spec.folder(), spec.scorer.sha256)
        return digest({"files": files, "settings": dict(spec.scorer.settings), "version": spec.scorer.version})

    def _prompts(self, spec: Spec) -> tuple[str, str]:
        return str(spec.settings["positive"]), str(spec.settings["negative"])

    def _spec(self, role: str) -> Spec:
        return spec_of(self._card, role, self._root)
