"""Preprocessing of an image for an encoder: resized by PIL with antialiasing (squash, crop or pad), then normalised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import Floats, check_pixels

NORMALISATIONS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and standard deviation of R, G and B in [0, 1]: those of CLIP's training, those of ImageNet, and one half."""
KERNELS = {
    "bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR, "lanczos": Image.Resampling.LANCZOS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Complete preprocessing settings.  `size` is the model's input side in pixels; `shortest` is never 0.

    See `registry.scorer_engines` for the values of `fit` and `kernel`.
    """

    size: int
    fit: str
    kernel: str
    shortest: int
    normalisation: str

    def __str__(self) -> str:
        """Return everything that changes the numbers; it is part of scorer names, so the wording must not change."""
        shape = {
            "squash": f"squashed to {self.size}, no crop",
            "crop": f"shortest side {self.shortest}, middle {self.size} cropped",
            "pad": f"longest side {self.size}, black beside it",
        }[self.fit]
        return f"{shape}, PIL {self.kernel} with antialiasing, {self.normalisation} mean and deviation"

    def __call__(self, images: Sequence[Pixels]) -> Floats:
        """Return float32 (n, 3, size, size) of RGB images, channels in the order R, G, B."""
        mean, std = (np.asarray(v, np.float32) for v in NORMALISATIONS[self.normalisation])
        if not images:
            return np.empty((0, 3, self.size, self.size), np.float32)
        stacked = np.stack([self._resize(Image.fromarray(check_pixels(i))) for i in images])
        normal = (stacked.astype(np.float32) / 255 - mean) / std
        return np.ascontiguousarray(normal.transpose(0, 3, 1, 2), dtype=np.float32)

    def _resize(self, image: Image.Image) -> Pixels:
        size, kernel = self.size, KERNELS[self.kernel]
        width, height = image.size
        if self.fit == "squash":
            return np.asarray(image.resize((size, size), kernel))
        if self.fit == "pad":
            scale = size / max(width, height)
            inner = image.resize((max(1, round(width * scale)), max(1, round(height * scale))), kernel)
            canvas = np.zeros((size, size, 3), np.uint8)
            left, top = (size - inner.width) // 2, (size - inner.height) // 2
            canvas[top : top + inner.height, left : left + inner.width] = np.asarray(inner)
            return canvas
        # Rounded down, and halves to even, as torchvision does, so that published figures can be reproduced.
        short_side = min(width, height)
        resized = image.resize((self.shortest * width // short_side, self.shortest * height // short_side), kernel)
        left, top = round((resized.width - size) / 2.0), round((resized.height - size) / 2.0)
        return np.asarray(resized)[top : top + size, left : left + size]


def preprocessing_from(settings: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing that a scorer's complete settings describe.

    Raises LayoutmarkError if an image would be resized to less than the crop.
    """
    size, shortest = int(settings["image_size"]), int(settings["shortest"])
    if settings["fit"] == "crop" and 0 < shortest < size:
        raise LayoutmarkError(
            "setting 'shortest'", found=str(shortest), expected=f"0, or at least image_size {size}",
            do="Correct the value.",
        )  # fmt: skip
    return Preprocessing(size, settings["fit"], settings["kernel"], shortest or size, settings["normalisation"])


def check_normalisation(label: str, declared: str, mean: Sequence[float], std: Sequence[float]) -> None:
    """Raise LayoutmarkError if the weights were trained with another normalisation than the card declares."""
    if not np.allclose(NORMALISATIONS[declared], (mean, std), atol=2e-3):
        matching = [n for n, v in NORMALISATIONS.items() if np.allclose(v, (mean, std), atol=2e-3)]
        raise LayoutmarkError(
            f"normalisation of {label}", found=f"{declared!r} in its card",
            expected=repr(matching[0]) if matching else f"mean {list(mean)}, deviation {list(std)}, as its weights say",
            do="Correct the setting.",
        )  # fmt: skip
