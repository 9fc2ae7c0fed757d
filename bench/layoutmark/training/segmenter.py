"""The segmenter of the miniature stack: a small U-Net from scratch on crops of renders, whose visible masks are exact.

Boxes are moved a little, because a detector's are never exact; half of the crops are blurred, noisy or re-lit, because
generated pictures are softer than true ones.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image

from layoutmark.diffusion.recipe import Renders
from layoutmark.features.segmenter import cropped, reach, save_segmenter
from layoutmark.features.unet import UNet
from layoutmark.layout import Mask
from layoutmark.training.detector import degraded
from layoutmark.training.loop import average, device, train

WIDTHS = (12, 24, 48, 64)
SIZE = 40
MARGIN = 0.15
SHIFT = 0.06
"""Standard deviation of a moved side, as a share of the box's width or height."""
LEAST = 0.02
"""Least width and height of a moved box."""


def train_segmenter(data: Renders, folder: Path, *, steps: int, batch: int, seed: int) -> tuple[UNet, float]:
    """Train; returns the averaged model and the seconds spent."""
    torch.manual_seed(seed)
    place = device()
    model = UNet(WIDTHS).to(place).train()
    kept = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)

    def step_loss(step: int, generator: torch.Generator) -> torch.Tensor:
        draws = np.random.Generator(np.random.PCG64(seed * 1_000_003 + step))
        pairs = [_example(data, draws) for _ in range(batch)]
        crops = torch.from_numpy(np.stack([crop for crop, _ in pairs]))
        wanted = torch.from_numpy(np.stack([mask for _, mask in pairs])).to(place)
        seen = torch.cat([degraded(crops[:, :3], generator), crops[:, 3:]], dim=1).to(place)
        logits = model(seen)
        found = logits.sigmoid()
        both = (found * wanted).sum((1, 2))
        overlap = (2 * both + 1) / (found.sum((1, 2)) + wanted.sum((1, 2)) + 1)
        loss: torch.Tensor = F.binary_cross_entropy_with_logits(logits, wanted) + 0.5 * (1 - overlap.mean())
        return loss

    seconds = train(
        "segmenter",
        steps,
        {"model": model, "kept": kept},
        optimiser,
        step_loss,
        folder=folder,
        seed=seed,
        rate=3e-3,
        after=lambda step: average(kept, model, min(0.99, (step + 1) / (step + 10))),
        checkpoint_every=250,
    )
    return kept.cpu().eval(), seconds


def _example(data: Renders, draws: np.random.Generator) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A crop (4, SIZE, SIZE) and the share of each of its pixels that the thing covers (SIZE, SIZE)."""
    index = int(draws.integers(len(data.facts)))
    things = data.facts[index]["things"]
    thing = things[int(draws.integers(len(things)))]
    pixels, mask = np.array(data.pixels[index]), Mask(*thing["mask"]).array()
    box = moved(np.array(thing["box"]), draws)
    if draws.random() < 0.5:
        pixels, mask, box = pixels[:, ::-1].copy(), mask[:, ::-1], np.array([1 - box[2], box[1], 1 - box[0], box[3]])
    crop, place = cropped(pixels, box, SIZE, MARGIN)
    part = mask[reach(place, mask.shape)].astype(np.float32)
    small = Image.fromarray(part).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return crop, np.asarray(small, np.float32)


def moved(box: npt.NDArray[np.float64], draws: np.random.Generator) -> npt.NDArray[np.float64]:
    """A box (4,) with each side moved by chance, kept on the canvas and at least `LEAST` wide and high."""
    size = np.array([box[2] - box[0], box[3] - box[1]] * 2)
    found: npt.NDArray[np.float64] = np.clip(box + draws.normal(0, SHIFT, 4) * size, 0, 1)
    return found if (found[2:] - found[:2] >= LEAST).all() else box


def save(model: UNet, folder: Path) -> None:
    """Write the segmenter's folder."""
    weights: dict[str, Any] = model.state_dict()
    save_segmenter(folder, WIDTHS, SIZE, MARGIN, weights)
