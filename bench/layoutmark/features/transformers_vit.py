"""DINO and DINOv2 through transformers: the class token after the last norm, one unit vector a picture.

DINO (Caron et al., ICCV 2021) is a `ViTModel`, DINOv2 (Oquab et al., TMLR 2024) a `Dinov2Model`; config.json says so.
Position embeddings of another picture size than the card's are interpolated by the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from layoutmark.door import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.fitting import fitting_of, same_normalisation
from layoutmark.features.folder import read_json, require
from layoutmark.features.images import Floats, in_batches, unit
from layoutmark.features.packages import needed
from layoutmark.features.spec import Spec

CLASSES = {
    "vit": "ViTModel", "dinov2": "Dinov2Model", "dinov2_with_registers": "Dinov2WithRegistersModel",
}  # fmt: skip
"""Class by the `model_type` of config.json."""
SETTINGS = "preprocessor_config.json"


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
        folder, what = spec.folder(), f"encoder {spec.label}"
        require(folder, ("config.json", SETTINGS, spec.weights))
        kind = str(read_json(folder / "config.json").get("model_type"))
        if kind not in CLASSES:
            raise LayoutmarkError(
                what, found=f"model_type {kind!r}", expected="one of " + ", ".join(CLASSES), do="Choose other weights."
            )
        self._torch = needed("DINO", "torch", "torch")
        transformers = needed("DINO", "transformers", "torch")
        needed("DINO", "transformers.utils.logging", "torch").disable_progress_bar()
        more = {"add_pooling_layer": False} if kind == "vit" else {}
        with self._torch.random.fork_rng(devices=[]):
            model, report = getattr(transformers, CLASSES[kind]).from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=spec.weights.endswith(".safetensors"),
                dtype=self._torch.float32,
                output_loading_info=True,
                **more,
            )
        # transformers fills absent weights with random numbers and only logs it.
        if report["missing_keys"]:
            raise LayoutmarkError(
                what,
                found=f"no {sorted(report['missing_keys'])[0]} and {len(report['missing_keys']) - 1} more",
                expected="all weights of config.json",
                do="Keep config.json and weights of one training together.",
            )
        about = read_json(folder / SETTINGS)
        self._fitting = fitting_of(spec.settings)
        same_normalisation(what, self._fitting.normalisation, about["image_mean"], about["image_std"])
        if self._fitting.size % (patch := int(model.config.patch_size)):
            raise LayoutmarkError(
                f"{what}, setting 'image_size'", found=str(self._fitting.size), expected=f"a multiple of {patch}",
                do="Correct the value.",
            )  # fmt: skip
        self._model, self._device = model.to(device).eval().requires_grad_(False), device
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
