"""Train the miniature stack's segmenter: a small U-Net from scratch on crops of renders with exact visible masks.

Boxes are jittered, because detected boxes are never exact; half of the crops are blurred, noisy or relit, because
generated images are softer than true ones.
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

from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.features.segmenter import crop_around_box, crop_indices, save_segmenter
from layoutmark.features.unet import UNet
from layoutmark.layout import Mask
from layoutmark.training.detector import randomly_degrade
from layoutmark.training.loop import train, training_device, update_average

WIDTHS = (12, 24, 48, 64)
SIZE = 40
MARGIN = 0.15
BOX_JITTER = 0.06
"""Standard deviation of the shift of a box side, as a share of the box's width or height."""
MIN_BOX_SIDE = 0.02
"""Minimum width and height of a jittered box."""


def train_segmenter(data: TrainingImages, folder: Path, *, steps: int, batch: int, seed: int) -> tuple[UNet, float]:
    """Train the segmenter; returns the averaged model and the seconds spent."""
    torch.manual_seed(seed)
    device = training_device()
    model = UNet(WIDTHS).to(device).train()
    averaged = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)

    def step_loss(step: int, generator: torch.Generator) -> torch.Tensor:
        draws = np.random.Generator(np.random.PCG64(seed * 1_000_003 + step))
        pairs = [_example(data, draws) for _ in range(batch)]
        crops = torch.from_numpy(np.stack([crop for crop, _ in pairs]))
        target = torch.from_numpy(np.stack([mask for _, mask in pairs])).to(device)
        inputs = torch.cat([randomly_degrade(crops[:, :3], generator), crops[:, 3:]], dim=1).to(device)
        logits = model(inputs)
        predicted = logits.sigmoid()
        intersection = (predicted * target).sum((1, 2))
        dice = (2 * intersection + 1) / (predicted.sum((1, 2)) + target.sum((1, 2)) + 1)
        loss: torch.Tensor = F.binary_cross_entropy_with_logits(logits, target) + 0.5 * (1 - dice.mean())
        return loss

    seconds = train(
        "segmenter",
        steps,
        {"model": model, "kept": averaged},
        optimiser,
        step_loss,
        folder=folder,
        seed=seed,
        rate=3e-3,
        after_step=lambda step: update_average(averaged, model, min(0.99, (step + 1) / (step + 10))),
        checkpoint_every=250,
    )
    return averaged.cpu().eval(), seconds


def _example(
    data: TrainingImages, draws: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """A crop (4, SIZE, SIZE) and the fraction of each of its pixels covered by the object (SIZE, SIZE)."""
    index = int(draws.integers(len(data.annotations)))
    things = data.annotations[index]["things"]
    thing = things[int(draws.integers(len(things)))]
    pixels, mask = np.array(data.pixels[index]), Mask(*thing["mask"]).to_array()
    box = jitter_box(np.array(thing["box"]), draws)
    if draws.random() < 0.5:
        pixels, mask, box = pixels[:, ::-1].copy(), mask[:, ::-1], np.array([1 - box[2], box[1], 1 - box[0], box[3]])
    crop, region = crop_around_box(pixels, box, SIZE, MARGIN)
    cropped_mask = mask[crop_indices(region, mask.shape)].astype(np.float32)
    resized = Image.fromarray(cropped_mask).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return crop, np.asarray(resized, np.float32)


def jitter_box(box: npt.NDArray[np.float64], draws: np.random.Generator) -> npt.NDArray[np.float64]:
    """Shift each side of a box (4,) at random, within the canvas; boxes below `MIN_BOX_SIDE` are returned unchanged."""
    size = np.array([box[2] - box[0], box[3] - box[1]] * 2)
    jittered: npt.NDArray[np.float64] = np.clip(box + draws.normal(0, BOX_JITTER, 4) * size, 0, 1)
    return jittered if (jittered[2:] - jittered[:2] >= MIN_BOX_SIDE).all() else box


def save(model: UNet, folder: Path) -> None:
    """Write the segmenter's folder."""
    weights: dict[str, Any] = model.state_dict()
    save_segmenter(folder, WIDTHS, SIZE, MARGIN, weights)
