"""Pictures that the Appearance-net looks at: references, and the composite of all references at their boxes.

Images here are float (3, height, width), RGB in 0..1, until `encoder_input` normalises them.
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
"""Mean and standard deviation by which CLIP normalises its pictures."""
COLOURS: dict[Canvas, tuple[float, float, float]] = {"mean": MEAN, "black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0)}


@dataclass(frozen=True, eq=False, slots=True)
class Pair:
    """One instance: its box, and the image (3, h, w) of its reference."""

    box: Box
    image: torch.Tensor


def reference_image(reference: Reference, area: Area = "box", canvas: Canvas = "mean") -> torch.Tensor:
    """What is taken of a reference: all of it, the box around its subject, or the subject alone on the canvas colour.

    A reference without a mask, or with an empty one, is taken whole.
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
    """Large boxes first, so that small ones are painted over them; equal ones in the order given."""
    return sorted(pairs, key=lambda pair: -pair.box.area)


def composite(
    pairs: Sequence[Pair], height: int, width: int, *, fit: Fit = "stretch", canvas: Canvas = "mean"
) -> torch.Tensor:
    """Every image painted at its box on an empty canvas (3, height, width), in painter's order.

    A box covers the pixels from floor to ceil of its corners, at least one.
    """
    painted = _blank(height, width, canvas)
    for pair in painters_order(pairs):
        x0, y0, x1, y1 = pair.box.cells(width, height)
        painted[:, y0:y1, x0:x1] = fitted(pair.image, y1 - y0, x1 - x0, fit=fit, canvas=canvas)
    return painted


def fitted(
    image: torch.Tensor, height: int, width: int, *, fit: Fit = "stretch", canvas: Canvas = "mean"
) -> torch.Tensor:
    """An image resized to (3, height, width), never cropped: stretched, or in its proportions on the canvas colour."""
    if fit == "stretch":
        return _resized(image, height, width)
    scale = min(height / image.shape[1], width / image.shape[2])
    inner_height = min(height, max(1, round(image.shape[1] * scale)))
    inner_width = min(width, max(1, round(image.shape[2] * scale)))
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    boxed = _blank(height, width, canvas)
    boxed[:, top : top + inner_height, left : left + inner_width] = _resized(image, inner_height, inner_width)
    return boxed


def encoder_input(image: torch.Tensor, side: int) -> torch.Tensor:
    """The whole image, whatever its proportions, as the encoder takes it: (3, side, side), normalised.

    CLIP's usual centre crop would cut the sides off a composite and shift every box.
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
