"""DINO and DINOv2 through transformers: the class token after the last norm, one unit vector a picture.

DINO (Caron et al., ICCV 2021) is a `ViTModel`, DINOv2 (Oquab et al., TMLR 2024) a `Dinov2Model`; config.json says so.
Position embeddings of another picture size than the card's are interpolated by the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import Floats, in_batches, unit
from layoutmark.features.optional_packages import needed
from layoutmark.features.preprocessing import fitting_of, same_normalisation
from layoutmark.features.pretrained import config_of, normalisation, pretrained
from layoutmark.features.scorer_spec import Spec

CLASSES = {
    "vit": "ViTModel", "dinov2": "Dinov2Model", "dinov2_with_registers": "Dinov2WithRegistersModel",
}  # fmt: skip
"""Class by the `model_type` of config.json."""


def describe(spec: Spec) -> str:
    """Its full name."""
    return spec.full_name(f"class token, {fitting_of(spec.settings)}")


def load(spec: Spec, device: str) -> TransformersViT:
    """The model."""
    return TransformersViT(spec, device)


class TransformersViT:
    """A ViT of transformers in float32.

    Raises LayoutmarkError if a file is missing, the class is no ViT, weights are missing, or the normalisation is not
    the one of its preprocessor_config.json.
    """

    def __init__(self, spec: Spec, device: str = "cpu") -> None:
        folder, what = spec.folder(), f"{spec.kind} {spec.label}"
        kind = str(config_of(spec, folder, tuple(CLASSES))["model_type"])
        self._torch = needed(spec.kind, "torch", "torch")
        more = {"add_pooling_layer": False} if kind == "vit" else {}
        model = pretrained(spec, folder, CLASSES[kind], device, **more)
        self._fitting = fitting_of(spec.settings)
        same_normalisation(what, self._fitting.normalisation, *normalisation(folder))
        if self._fitting.size % (patch := int(model.config.patch_size)):
            raise LayoutmarkError(
                f"{what}, setting 'image_size'", found=str(self._fitting.size), expected=f"a multiple of {patch}",
                do="Correct the value.",
            )  # fmt: skip
        self._model, self._device = model, device
        self._more = {"interpolate_pos_encoding": True} if kind == "vit" else {}

    def images(self, images: Sequence[Pixels]) -> Floats:
        """Unit vectors (n, d) of RGB pictures."""
        if not images:
            return np.empty((0, int(self._model.config.hidden_size)), np.float32)
        inputs = self._torch.from_numpy(self._fitting(images)).to(self._device)
        with self._torch.inference_mode():
            tokens = in_batches(
                lambda batch: self._model(pixel_values=batch, **self._more).last_hidden_state[:, 0], inputs
            )
        return unit(tokens.float().cpu().numpy())
