"""Images for the Appearance-net: references, and the composite of all references at their boxes.

Images here are float (3, height, width), RGB in [0, 1], until `encoder_input` normalises them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from layoutmark.layout import Box, Reference

Fit = Literal["stretch", "letterbox"]
Canvas = Literal["mean", "black", "white"]
Area = Literal["whole", "box", "segment"]

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of CLIP's image normalisation."""
COLOURS: dict[Canvas, tuple[float, float, float]] = {"mean": MEAN, "black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0)}


@dataclass(frozen=True, eq=False, slots=True)
class Pair:
    """The box of an instance and its reference image (3, h, w)."""

    box: Box
    image: torch.Tensor


def reference_image(reference: Reference, area: Area = "box", canvas: Canvas = "mean") -> torch.Tensor:
    """Crop a reference: the full image, the box around its subject, or the subject alone on the canvas colour.

    A reference without a mask, or with an empty one, is used in full.
    """
    image = torch.from_numpy(np.array(reference.image)).permute(2, 0, 1).float() / 255
    if area == "whole" or reference.mask is None or not reference.mask.any():
        return image
    rows, columns = np.nonzero(reference.mask.any(1))[0], np.nonzero(reference.mask.any(0))[0]
    if area == "segment":
        subject = torch.from_numpy(np.array(reference.mask))
        image = torch.where(subject, image, _blank(1, 1, canvas))
    return image[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def painters_order(pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs sorted from large to small boxes, so that small ones are painted last; ties keep their order."""
    return sorted(pairs, key=lambda pair: -pair.box.area)


def composite(
    pairs: Sequence[Pair], height: int, width: int, *, fit: Fit = "stretch", canvas: Canvas = "mean"
) -> torch.Tensor:
    """Paint every image at its box on an empty canvas (3, height, width), in painter's order.

    A box covers the pixels from floor to ceil of its corners, at least one.
    """
    canvas_image = _blank(height, width, canvas)
    for pair in painters_order(pairs):
        x0, y0, x1, y1 = pair.box.to_cells(width, height)
        canvas_image[:, y0:y1, x0:x1] = fit_image(pair.image, y1 - y0, x1 - x0, fit=fit, canvas=canvas)
    return canvas_image


def fit_image(
    image: torch.Tensor, height: int, width: int, *, fit: Fit = "stretch", canvas: Canvas = "mean"
) -> torch.Tensor:
    """Resize an image to (3, height, width) without cropping: stretched, or letterboxed on the canvas colour."""
    if fit == "stretch":
        return _resized(image, height, width)
    scale = min(height / image.shape[1], width / image.shape[2])
    inner_height = min(height, max(1, round(image.shape[1] * scale)))
    inner_width = min(width, max(1, round(image.shape[2] * scale)))
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    letterboxed = _blank(height, width, canvas)
    letterboxed[:, top : top + inner_height, left : left + inner_width] = _resized(image, inner_height, inner_width)
    return letterboxed


def encoder_input(image: torch.Tensor, side: int) -> torch.Tensor:
    """Resize the full image of any aspect ratio to the encoder's input (3, side, side), and normalise it.

    CLIP's usual centre crop would remove the sides of a composite and shift every box.
    """
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (_resized(image, side, side) - mean) / std


def _blank(height: int, width: int, canvas: Canvas) -> torch.Tensor:
    return torch.tensor(COLOURS[canvas]).view(3, 1, 1).repeat(1, height, width)


def _resized(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    if image.shape[1:] == (height, width):
        return image
    resized = F.interpolate(image[None], (height, width), mode="bicubic", align_corners=False, antialias=True)
    return resized[0].clamp(0, 1)
