"""DINO and DINOv2 through transformers: the class token after the last norm, one unit vector per image.

DINO (Caron et al., ICCV 2021) is a `ViTModel`, DINOv2 (Oquab et al., TMLR 2024) a `Dinov2Model`, as config.json says.
If the card's image size differs from the one of training, the model interpolates its position embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import Floats, normalise_rows, run_in_batches
from layoutmark.features.optional_packages import require_package
from layoutmark.features.preprocessing import check_normalisation, preprocessing_from
from layoutmark.features.pretrained import load_pretrained, read_config, read_normalisation
from layoutmark.features.scorer_spec import ScorerSpec

CLASSES = {
    "vit": "ViTModel", "dinov2": "Dinov2Model", "dinov2_with_registers": "Dinov2WithRegistersModel",
}  # fmt: skip
"""Model class by the `model_type` in config.json."""


def describe(spec: ScorerSpec) -> str:
    """Return the scorer's full name."""
    return spec.full_name(f"class token, {preprocessing_from(spec.settings)}")


def load(spec: ScorerSpec, device: str) -> TransformersViT:
    """Load the model."""
    return TransformersViT(spec, device)


class TransformersViT:
    """A transformers ViT in float32.

    Raises LayoutmarkError if a file or weight is missing, the model is not a ViT, or the card's normalisation is not
    the one of the folder's preprocessing settings.
    """

    def __init__(self, spec: ScorerSpec, device: str = "cpu") -> None:
        folder, label = spec.folder(), f"{spec.kind} {spec.label}"
        model_type = str(read_config(spec, folder, tuple(CLASSES))["model_type"])
        self._torch = require_package(spec.kind, "torch", "torch")
        arguments = {"add_pooling_layer": False} if model_type == "vit" else {}
        model = load_pretrained(spec, folder, CLASSES[model_type], device, **arguments)
        self._preprocessing = preprocessing_from(spec.settings)
        check_normalisation(label, self._preprocessing.normalisation, *read_normalisation(folder))
        size = self._preprocessing.size
        if size % (patch := int(model.config.patch_size)):
            raise LayoutmarkError(
                f"{label}, setting 'image_size'", found=str(size), expected=f"a multiple of {patch}",
                do="Correct the value.",
            )  # fmt: skip
        self._model, self._device = model, device
        self._call_arguments = {"interpolate_pos_encoding": True} if model_type == "vit" else {}

    def images(self, images: Sequence[Pixels]) -> Floats:
        """Return unit vectors (n, d) of RGB images."""
        if not images:
            return np.empty((0, int(self._model.config.hidden_size)), np.float32)
        inputs = self._torch.from_numpy(self._preprocessing(images)).to(self._device)
        with self._torch.inference_mode():
            tokens = run_in_batches(
                lambda batch: self._model(pixel_values=batch, **self._call_arguments).last_hidden_state[:, 0], inputs
            )
        return normalise_rows(tokens.float().cpu().numpy())
