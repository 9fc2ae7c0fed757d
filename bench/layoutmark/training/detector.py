"""Train the miniature stack's detector: a small YOLO from scratch on renders, with ultralytics' own model and loss.

It shares nothing with the generator.  Images are enlarged to 128 x 128 (bilinear), as in `features.detector`.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.training.loop import train, training_device, update_average

IMAGE_SIZE = 128


def new_detector(config: dict[str, Any], classes: int) -> torch.nn.Module:
    """An untrained ultralytics detection model of the given architecture."""
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    model: torch.nn.Module = DetectionModel(copy.deepcopy(config), ch=3, nc=classes, verbose=False)
    model.args = get_cfg()
    return model


def architecture() -> dict[str, Any]:
    """YOLO11 with depth 0.5 and width 0.1875 of the published layers."""
    from ultralytics.nn.tasks import yaml_model_load

    config: dict[str, Any] = yaml_model_load("yolo11n.yaml")
    config["scales"] = {"n": [0.50, 0.1875, 1024]}
    config.pop("yaml_file", None)
    return config


def train_detector(
    data: TrainingImages, categories: tuple[str, ...], folder: Path, *, steps: int, batch: int, seed: int
) -> tuple[torch.nn.Module, float]:
    """Train the detector; returns the averaged model and the seconds spent."""
    torch.manual_seed(seed)
    model, averaged = new_detector(architecture(), len(categories)), new_detector(architecture(), len(categories))
    averaged.load_state_dict(model.state_dict())
    device = training_device()
    model.to(device).train()
    averaged.to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=5e-4)
    boxes = [torch.tensor([t["box"] for t in annotation["things"]]) for annotation in data.annotations]
    labels = [
        torch.tensor([categories.index(t["category"]) for t in annotation["things"]]) for annotation in data.annotations
    ]

    def step_loss(_: int, generator: torch.Generator) -> torch.Tensor:
        index = torch.randint(0, len(boxes), (batch,), generator=generator)
        pixels = torch.from_numpy(np.stack([data.pixels[int(i)] for i in index])).permute(0, 3, 1, 2).float() / 255
        pixels = randomly_degrade(pixels, generator)
        pixels = F.interpolate(pixels, size=IMAGE_SIZE, mode="bilinear", antialias=True)
        cxcywh, rows, kinds = [], [], []
        for row, i in enumerate(index.tolist()):
            b = boxes[i]
            cxcywh.append(
                torch.stack([(b[:, 0] + b[:, 2]) / 2, (b[:, 1] + b[:, 3]) / 2, b[:, 2] - b[:, 0], b[:, 3] - b[:, 1]], 1)
            )
            rows.append(torch.full((len(b),), float(row)))
            kinds.append(labels[i].float())
        target = {
            "img": pixels,
            "batch_idx": torch.cat(rows),
            "cls": torch.cat(kinds)[:, None],
            "bboxes": torch.cat(cxcywh),
        }
        loss, _components = model({key: value.to(device) for key, value in target.items()})
        total: torch.Tensor = loss.sum() / batch
        return total

    seconds = train(
        "detector",
        steps,
        {"model": model, "kept": averaged},
        optimiser,
        step_loss,
        folder=folder,
        seed=seed,
        rate=2e-3,
        clip=10.0,
        after_step=lambda step: update_average(averaged, model, min(0.998, (step + 1) / (step + 10))),
        checkpoint_every=250,
    )
    return averaged.cpu().eval(), seconds


def randomly_degrade(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Slightly blur, relight or add noise to half of the images: generated images are softer than true ones."""
    count = len(pixels)
    blurred = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    amount = (torch.rand(count, 1, 1, 1, generator=generator) * 1.6 - 0.8).clamp(0, 1)
    pixels = pixels.lerp(blurred, amount)
    noise = torch.randn(pixels.shape, generator=generator)
    pixels = pixels + noise * (torch.rand(count, 1, 1, 1, generator=generator) * 0.08 - 0.04).clamp(0)
    brightness = 1 + (torch.rand(count, 1, 1, 1, generator=generator) - 0.5) * 0.2
    return (pixels * brightness).clamp(0, 1)
