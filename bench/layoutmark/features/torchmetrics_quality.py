"""CLIP-IQA as implemented by torchmetrics: on a transformers CLIP from a folder or repository, or on piq's CLIP.

torchmetrics (1.9) uses the temperature 100, not the one that the CLIP learned, and the CLIP's own preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.features.images import check_pixels
from layoutmark.features.optional_packages import require_package
from layoutmark.features.package_weights import enforce_tensors, guarded_loading
from layoutmark.features.pretrained import load_pretrained, read_config
from layoutmark.features.scorer_spec import ScorerSpec
from layoutmark.store.downloads import recorded_digests

FEATURE = "quality by torchmetrics"
PIQ_LOCK_NAME = "torchmetrics:clip_iqa"


def describe(spec: ScorerSpec) -> str:
    """Return the scorer's full name."""
    prompt = spec.settings["prompt"]
    if _uses_piq(spec):
        return f"clip_iqa {spec.scorer.version} (torchmetrics on the CLIP of piq, own size, prompt {prompt})"
    return spec.full_name(f"its processor's preprocessing, temperature 100, prompt {prompt}")


def load(spec: ScorerSpec, device: str) -> TorchmetricsQuality:
    """Load the model."""
    return TorchmetricsQuality(spec, device)


def digests(spec: ScorerSpec) -> dict[str, str]:
    """Return the sha256 of its files, or of piq's tensors as recorded when they were first loaded."""
    if not _uses_piq(spec):
        return spec.digests()
    if PIQ_LOCK_NAME not in recorded_digests():
        TorchmetricsQuality(spec, "cpu")
    return {PIQ_LOCK_NAME: recorded_digests()[PIQ_LOCK_NAME]}


def _uses_piq(spec: ScorerSpec) -> bool:
    return not (spec.scorer.folder or spec.scorer.repository)


def _load_clip(spec: ScorerSpec, folder: Path) -> tuple[Any, Any]:
    """Return model and processor of a folder."""
    read_config(spec, folder, ("clip",))
    transformers = require_package(FEATURE, "transformers", "torch")
    processor = transformers.CLIPProcessor.from_pretrained(folder, local_files_only=True)
    model = load_pretrained(spec, folder, "CLIPModel", "cpu")
    # transformers 5 returns an object where torchmetrics 1.9 still expects a tensor.
    for name in ("get_image_features", "get_text_features"):
        setattr(model, name, _as_tensor(getattr(model, name)))
    return model, processor


def _as_tensor(features_fn: Callable[..., Any]) -> Callable[..., Any]:
    def tensor_features(*inputs: Any) -> Any:
        output = features_fn(*inputs)
        return getattr(output, "pooler_output", output)

    return tensor_features


class TorchmetricsQuality:
    """CLIPImageQualityAssessment in float32.  Raises MissingPackageError without torchmetrics."""

    def __init__(self, spec: ScorerSpec, device: str = "cpu") -> None:
        self._torch = require_package(FEATURE, "torch", "torch")
        metric = require_package(FEATURE, "torchmetrics.multimodal", "iqa").CLIPImageQualityAssessment
        # It knows four repositories by name; any other CLIP must be passed as a function that returns it.
        model = "clip_iqa" if _uses_piq(spec) else lambda: _load_clip(spec, spec.folder())
        with guarded_loading(PIQ_LOCK_NAME if _uses_piq(spec) else spec.label):
            # The transformers processor divides by 255 itself; with 255 here it would see black.
            data_range = 255.0 if _uses_piq(spec) else 1.0
            self._model = metric(model, data_range=data_range, prompts=(str(spec.settings["prompt"]),)).to(device)
        if _uses_piq(spec):
            enforce_tensors(PIQ_LOCK_NAME, self._model.model)
        self._device = device

    def scores(self, images: Sequence[Pixels]) -> npt.NDArray[np.float64]:
        """Return the probability (n,) of the praising prompt for each RGB image."""
        scores = np.empty(len(images))
        for index, image in enumerate(images):
            # One at a time: sizes differ, and its processor does not allow batches of a fixed size.
            inputs = self._torch.from_numpy(np.ascontiguousarray(check_pixels(image).transpose(2, 0, 1)))[None]
            with self._torch.inference_mode():
                self._model.reset()
                scores[index] = float(self._model(inputs.float().to(self._device)))
        return scores
