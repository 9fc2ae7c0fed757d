"""The scorers of a stack: their full names and digests at once, each model when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from layoutmark.errors import LayoutmarkError
from layoutmark.features import clip, detector, dino, quality
from layoutmark.features.clip import OpenClip
from layoutmark.features.detector import YoloDetector
from layoutmark.features.dino import DinoViT
from layoutmark.features.folder import folder_digest
from layoutmark.features.quality import ClipIqa
from layoutmark.provenance import digest
from layoutmark.shelf.kinds import Scorer, StackCard


class Scorers:
    """The scorers that `card` declares, from folders below `root` (the stack's own folder).

    `names` and `digests` need no heavy package.  Asking for a scorer that the card does not declare, or whose folder
    is not there, raises LayoutmarkError; a package that is not installed raises MissingPackage.
    """

    def __init__(self, card: StackCard, root: Path, device: str | None = "cpu") -> None:
        self._card, self._root, self._asked = card, root, device

    def kinds(self) -> tuple[str, ...]:
        """Which of detector, clip, dino and quality there are."""
        return tuple(sorted(self._card.scorers))

    def names(self) -> dict[str, str]:
        """The full name of each scorer: stack, version, and the settings that change what it says."""
        return {kind: self._name(kind) for kind in self.kinds()}

    def vocabulary(self) -> tuple[str, ...]:
        """Category names of the detector in class order, checked against their sha256."""
        return detector.read_names(self._folder("detector"))

    def digests(self) -> dict[str, str]:
        """sha256 of each scorer's weights, configuration and settings.

        Raises LayoutmarkError when a file differs from the sha256 in the card.
        """
        found = {}
        for kind in self.kinds():
            scorer = self._scorer(kind)
            files = folder_digest(self._folder(kind), scorer.sha256)
            found[kind] = digest({"files": files, "settings": dict(scorer.settings), "version": scorer.version})
        return found

    @cached_property
    def detector(self) -> YoloDetector:
        """The detector; needs ultralytics."""
        return YoloDetector(self._folder("detector"), self._device)

    @cached_property
    def clip(self) -> OpenClip:
        """The CLIP; needs open_clip."""
        return OpenClip(self._folder("clip"), self._device)

    @cached_property
    def dino(self) -> DinoViT:
        """The DINO-trained ViT; needs transformers."""
        return DinoViT(self._folder("dino"), self._device)

    @cached_property
    def quality(self) -> ClipIqa:
        """CLIP-IQA; shares the CLIP when both live in one folder."""
        folder = self._folder("quality")
        shared = "clip" in self._card.scorers and self._folder("clip") == folder
        model = self.clip if shared else OpenClip(folder, self._device)
        return quality.ClipIqa(model, *self._prompts())

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

    def _name(self, kind: str) -> str:
        scorer, folder = self._scorer(kind), self._folder(kind)
        if kind == "detector":
            detail = f"letterbox {detector.read_image_size(folder)}, NMS IoU {detector.NMS_IOU}, multi-label"
        elif kind == "dino":
            detail = f"class token, bicubic squash {dino.read_image_size(folder)}"
        else:
            detail = f"bicubic squash {clip.read_image_size(folder)}"
        if kind == "quality":
            detail += ", {!r} against {!r}".format(*self._prompts())
        return f"{self._card.name}-{kind} {scorer.version} ({detail})"

    def _prompts(self) -> tuple[str, str]:
        settings = self._scorer("quality").settings
        return str(settings.get("positive", quality.POSITIVE)), str(settings.get("negative", quality.NEGATIVE))

    def _scorer(self, kind: str) -> Scorer:
        if kind not in self._card.scorers:
            raise LayoutmarkError(
                f"stack {self._card.name!r}",
                found=f"no scorer {kind!r}",
                expected="one of " + (", ".join(self.kinds()) or "(none)"),
                do="Choose a stack that has it, or leave its metrics out.",
            )
        return self._card.scorers[kind]

    def _folder(self, kind: str) -> Path:
        scorer = self._scorer(kind)
        folder = self._root / scorer.folder
        if not scorer.folder or not folder.is_dir():
            raise LayoutmarkError(
                f"scorer {kind!r} of stack {self._card.name!r}",
                found=f"no folder {scorer.folder!r}" if scorer.folder else "no folder in its card",
                expected="a folder with its configuration and its weights as safetensors",
                do="Place the files there, or choose another stack.",
            )
        return folder
