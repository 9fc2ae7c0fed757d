"""A ViT trained by self-distillation (DINO): one vector a picture, that tells individuals apart.

The folder is transformers' own: `config.json`, `model.safetensors` and `preprocessor_config.json` (channel means and
deviations).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import Floats, in_batches, squashed, unit
from layoutmark.features.optional_packages import needed
from layoutmark.features.scorer_folder import read_json, require

FEATURE = "DINO"
FILES = ("config.json", "model.safetensors", "preprocessor_config.json")


class DinoViT:
    """A transformers `ViTModel` in float32.  `image_size` is the side in pixels of the square it looks at."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        require(folder, FILES)
        self._torch = needed(FEATURE, "torch", "torch")
        vit = needed(FEATURE, "transformers", "torch").ViTModel
        needed(FEATURE, "transformers.utils.logging", "torch").disable_progress_bar()
        with self._torch.random.fork_rng(devices=[]):
            model, report = vit.from_pretrained(
                folder,
                add_pooling_layer=False,
                local_files_only=True,
                use_safetensors=True,
                dtype=self._torch.float32,
                output_loading_info=True,
            )
        # transformers fills absent weights with random numbers and only logs it.
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
        """Unit vectors (n, d): the class token after the last layer, of RGB pictures resized without crop."""
        if not images:
            return np.empty((0, int(self._model.config.hidden_size)), np.float32)
        torch = self._torch
        inputs = torch.from_numpy(squashed(images, self.image_size, self._mean, self._std)).to(self._device)
        with torch.inference_mode():
            tokens = in_batches(lambda batch: self._model(pixel_values=batch).last_hidden_state[:, 0], inputs)
        return unit(tokens.float().cpu().numpy())


def read_image_size(folder: Path) -> int:
    """Side in pixels of the square that pictures are resized to."""
    require(folder, FILES)
    return int(read_json(folder / "config.json")["image_size"])
