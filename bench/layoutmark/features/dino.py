"""A ViT trained by self-distillation (DINO): one vector per image that tells individuals apart.

The folder has transformers' own layout: `config.json`, `model.safetensors` and `preprocessor_config.json` (channel
means and standard deviations).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import Floats, normalise_rows, run_in_batches, squash
from layoutmark.features.optional_packages import require_package
from layoutmark.features.scorer_folder import read_json, require_files

FEATURE = "DINO"
FILES = ("config.json", "model.safetensors", "preprocessor_config.json")


class DinoViT:
    """A transformers `ViTModel` in float32.  `image_size` is the side of its square input in pixels."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        require_files(folder, FILES)
        self._torch = require_package(FEATURE, "torch", "torch")
        vit = require_package(FEATURE, "transformers", "torch").ViTModel
        require_package(FEATURE, "transformers.utils.logging", "torch").disable_progress_bar()
        with self._torch.random.fork_rng(devices=[]):
            model, report = vit.from_pretrained(
                folder,
                add_pooling_layer=False,
                local_files_only=True,
                use_safetensors=True,
                dtype=self._torch.float32,
                output_loading_info=True,
            )
        # transformers fills missing weights with random numbers and only logs it.
        if report["missing_keys"]:
            raise LayoutmarkError(
                "weights of DINO",
                found=f"no {sorted(report['missing_keys'])[0]} and {len(report['missing_keys']) - 1} more",
                expected="all weights of config.json",
                do="Keep config.json and model.safetensors of one training together.",
            )
        self._model = model.to(device).eval().requires_grad_(False)
        self._device = device
        settings = read_json(folder / "preprocessor_config.json")
        self._mean, self._std = settings["image_mean"], settings["image_std"]
        self.image_size = read_image_size(folder)

    def images(self, images: Sequence[Pixels]) -> Floats:
        """Return unit vectors (n, d): the last layer's class token of RGB images resized without cropping."""
        if not images:
            return np.empty((0, int(self._model.config.hidden_size)), np.float32)
        torch = self._torch
        inputs = torch.from_numpy(squash(images, self.image_size, self._mean, self._std)).to(self._device)
        with torch.inference_mode():
            tokens = run_in_batches(lambda batch: self._model(pixel_values=batch).last_hidden_state[:, 0], inputs)
        return normalise_rows(tokens.float().cpu().numpy())


def read_image_size(folder: Path) -> int:
    """Return the side in pixels of the square that images are resized to."""
    require_files(folder, FILES)
    return int(read_json(folder / "config.json")["image_size"])
