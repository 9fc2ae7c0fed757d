"""How a picture reaches an encoder: resized by PIL with antialiasing, squashed, cropped or padded, and normalised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import Floats, checked

NORMALISATIONS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and standard deviation of R, G and B in [0, 1]: those CLIP was trained with, those of ImageNet, and one half."""
KERNELS = {
    "bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR, "lanczos": Image.Resampling.LANCZOS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fitting:
    """`size` is the model's side in pixels; the others as in `shelf.engines.FIT`, `shortest` never 0."""

    size: int
    fit: str
    kernel: str
    shortest: int
    normalisation: str

    def __str__(self) -> str:
        """Everything that changes the numbers."""
        shape = {
            "squash": f"squashed to {self.size}, no crop",
            "crop": f"shortest side {self.shortest}, middle {self.size} cropped",
            "pad": f"longest side {self.size}, black beside it",
        }[self.fit]
        return f"{shape}, PIL {self.kernel} with antialiasing, {self.normalisation} mean and deviation"

    def __call__(self, images: Sequence[Pixels]) -> Floats:
        """float32 (n, 3, size, size) of RGB pictures, channels in the order R, G, B."""
        mean, std = (np.asarray(v, np.float32) for v in NORMALISATIONS[self.normalisation])
        if not images:
            return np.empty((0, 3, self.size, self.size), np.float32)
        stacked = np.stack([self._fitted(Image.fromarray(checked(i))) for i in images])
        normal = (stacked.astype(np.float32) / 255 - mean) / std
        return np.ascontiguousarray(normal.transpose(0, 3, 1, 2), dtype=np.float32)

    def _fitted(self, picture: Image.Image) -> Pixels:
        size, kernel = self.size, KERNELS[self.kernel]
        width, height = picture.size
        if self.fit == "squash":
            return np.asarray(picture.resize((size, size), kernel))
        if self.fit == "pad":
            scale = size / max(width, height)
            inner = picture.resize((max(1, round(width * scale)), max(1, round(height * scale))), kernel)
            canvas = np.zeros((size, size, 3), np.uint8)
            left, top = (size - inner.width) // 2, (size - inner.height) // 2
            canvas[top : top + inner.height, left : left + inner.width] = np.asarray(inner)
            return canvas
        # Rounded down and to even halves as torchvision does, so that published figures can be met.
        short = min(width, height)
        resized = picture.resize((self.shortest * width // short, self.shortest * height // short), kernel)
        left, top = round((resized.width - size) / 2.0), round((resized.height - size) / 2.0)
        return np.asarray(resized)[top : top + size, left : left + size]


def fitting_of(settings: Mapping[str, Any]) -> Fitting:
    """Of a scorer's complete settings."""
    size, shortest = int(settings["image_size"]), int(settings["shortest"])
    if settings["fit"] == "crop" and 0 < shortest < size:
        raise LayoutmarkError(
            "setting 'shortest'", found=str(shortest), expected=f"0, or at least image_size {size}",
            do="Correct the value.",
        )  # fmt: skip
    return Fitting(size, settings["fit"], settings["kernel"], shortest or size, settings["normalisation"])


def same_normalisation(what: str, declared: str, mean: Sequence[float], std: Sequence[float]) -> None:
    """Raise LayoutmarkError if the weights were trained with another normalisation than the card declares."""
    if not np.allclose(NORMALISATIONS[declared], (mean, std), atol=2e-3):
        known = [n for n, v in NORMALISATIONS.items() if np.allclose(v, (mean, std), atol=2e-3)]
        raise LayoutmarkError(
            f"normalisation of {what}", found=f"{declared!r} in its card",
            expected=repr(known[0]) if known else f"mean {list(mean)}, deviation {list(std)}, as its weights say",
            do="Correct the setting.",
        )  # fmt: skip
