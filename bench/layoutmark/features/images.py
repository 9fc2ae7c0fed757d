"""Image preprocessing shared by all models: checked, resized by PIL with antialiasing, normalised, in RGB order.

Batches have a fixed size, padded with blank images, so that a number does not depend on how many images are scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float32]
BATCH_SIZE = 16
GREY = 114
"""Value of the bars beside an image that is not square, the convention of the YOLO family."""


def check_pixels(pixels: Any) -> Pixels:
    """Return the array if it is RGB uint8 of shape (height, width, 3); raise LayoutmarkError otherwise."""
    shape = tuple(getattr(pixels, "shape", ()))
    kind = getattr(pixels, "dtype", type(pixels).__name__)
    if not isinstance(pixels, np.ndarray) or kind != np.uint8 or len(shape) != 3 or shape[-1] != 3 or 0 in shape:
        raise LayoutmarkError(
            "image for a scorer",
            found=f"{kind} of shape {shape}",
            expected="RGB pixels, uint8 from 0 to 255, shape (height, width, 3)",
            do="Convert it before scoring.",
        )
    return pixels


def squash(images: Sequence[Pixels], size: int, mean: Sequence[float], std: Sequence[float]) -> Floats:
    """Resize each image to size x size (bicubic, antialiased, no crop, aspect not kept) and normalise by channel.

    Returns float32 (n, 3, size, size), channels in the order R, G, B.
    """
    resized = [Image.fromarray(check_pixels(i)).resize((size, size), Image.Resampling.BICUBIC) for i in images]
    stacked = np.stack([np.asarray(i) for i in resized]) if resized else np.empty((0, size, size, 3))
    normal = (stacked.astype(np.float32) / 255 - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(normal.transpose(0, 3, 1, 2), dtype=np.float32)


def letterbox(pixels: Pixels, size: int) -> tuple[Floats, tuple[float, float, float, float]]:
    """Fit an image into size x size (bilinear, antialiased, aspect kept), centred on grey.

    Returns float32 (3, size, size) in [0, 1], and left, top, width and height of the image on it in pixels.
    """
    height, width = check_pixels(pixels).shape[:2]
    scale = size / max(height, width)
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size - w) // 2, (size - h) // 2
    canvas = np.full((size, size, 3), GREY, dtype=np.uint8)
    canvas[top : top + h, left : left + w] = np.asarray(
        Image.fromarray(pixels).resize((w, h), Image.Resampling.BILINEAR)
    )
    letterboxed = canvas.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    return letterboxed, (float(left), float(top), float(w), float(h))


def run_in_batches(run: Callable[[Tensor], Tensor], inputs: Tensor, size: int = BATCH_SIZE) -> Tensor:
    """Apply `run` to batches of exactly `size` rows, the last one padded with zeros; return the rows in order."""
    import torch

    outputs = []
    for start in range(0, len(inputs), size):
        rows = inputs[start : start + size]
        blanks = rows.new_zeros((size - len(rows), *rows.shape[1:]))
        outputs.append(run(torch.cat([rows, blanks]))[: len(rows)])
    return torch.cat(outputs)


def normalise_rows(vectors: Floats) -> Floats:
    """Scale rows (n, d) to length 1, float32; a zero row stays zero."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
    scaled: Floats = (vectors / np.where(lengths == 0, 1.0, lengths)).astype(np.float32)
    return scaled
