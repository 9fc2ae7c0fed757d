"""CLIP-IQA as torchmetrics has it: on a CLIP of transformers out of a folder or repository, or on that of piq.

torchmetrics (1.9) takes the temperature 100, not the one that the CLIP learned, and the CLIP's own preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.features.images import checked
from layoutmark.features.optional_packages import needed
from layoutmark.features.package_weights import enforce_tensors, loading
from layoutmark.features.pretrained import config_of, pretrained
from layoutmark.features.scorer_spec import Spec
from layoutmark.store.downloads import recorded

FEATURE = "quality by torchmetrics"
PIQ = "torchmetrics:clip_iqa"


def describe(spec: Spec) -> str:
    """Its full name."""
    prompt = spec.settings["prompt"]
    if _by_name(spec):
        return f"clip_iqa {spec.scorer.version} (torchmetrics on the CLIP of piq, own size, prompt {prompt})"
    return spec.full_name(f"its processor's preprocessing, temperature 100, prompt {prompt}")


def load(spec: Spec, device: str) -> TorchmetricsQuality:
    """The model."""
    return TorchmetricsQuality(spec, device)


def digests(spec: Spec) -> dict[str, str]:
    """sha256 of its files, or over its tensors as recorded when they were first loaded."""
    if not _by_name(spec):
        return spec.digests()
    if PIQ not in recorded():
        TorchmetricsQuality(spec, "cpu")
    return {PIQ: recorded()[PIQ]}


def _by_name(spec: Spec) -> bool:
    return not (spec.scorer.folder or spec.scorer.repository)


def _clip(spec: Spec, folder: Path) -> tuple[Any, Any]:
    """Model and processor of a folder."""
    config_of(spec, folder, ("clip",))
    processor = needed(FEATURE, "transformers", "torch").CLIPProcessor.from_pretrained(folder, local_files_only=True)
    model = pretrained(spec, folder, "CLIPModel", "cpu")
    # transformers 5 gives an object where torchmetrics 1.9 still takes a tensor.
    for name in ("get_image_features", "get_text_features"):
        setattr(model, name, _as_tensor(getattr(model, name)))
    return model, processor


def _as_tensor(features: Callable[..., Any]) -> Callable[..., Any]:
    def given(*inputs: Any) -> Any:
        found = features(*inputs)
        return getattr(found, "pooler_output", found)

    return given


class TorchmetricsQuality:
    """CLIPImageQualityAssessment, in float32.  Raises MissingPackage without torchmetrics."""

    def __init__(self, spec: Spec, device: str = "cpu") -> None:
        self._torch = needed(FEATURE, "torch", "torch")
        metric = needed(FEATURE, "torchmetrics.multimodal", "iqa").CLIPImageQualityAssessment
        # It knows four repositories by name; any other CLIP has to come as a function that gives it.
        place = "clip_iqa" if _by_name(spec) else lambda: _clip(spec, spec.folder())
        with loading(PIQ if _by_name(spec) else spec.label):
            # The processor of transformers divides by 255 itself; told 255 here, it would see black.
            scale = 255.0 if _by_name(spec) else 1.0
            self._model = metric(place, data_range=scale, prompts=(str(spec.settings["prompt"]),)).to(device)
        if _by_name(spec):
            enforce_tensors(PIQ, self._model.model)
        self._device = device

    def scores(self, images: Sequence[Pixels]) -> npt.NDArray[np.float64]:
        """Probability (n,) of the praising prompt for each RGB picture."""
        found = np.empty(len(images))
        for place, image in enumerate(images):
            # One at a time: sizes differ, and its processor leaves no room for a batch of a fixed shape.
            inputs = self._torch.from_numpy(np.ascontiguousarray(checked(image).transpose(2, 0, 1)))[None]
            with self._torch.inference_mode():
                self._model.reset()
                found[place] = float(self._model(inputs.float().to(self._device)))
        return found
