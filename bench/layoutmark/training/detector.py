"""The detector of the miniature stack: a small YOLO from scratch on renders, through ultralytics' own model and loss.

It shares nothing with the generator.  Pictures are enlarged to 128 x 128 (bilinear), as `features.detector` does.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from layoutmark.diffusion.recipe import Renders
from layoutmark.training.loop import average, device, train

IMAGE_SIZE = 128


def new_detector(config: dict[str, Any], classes: int) -> torch.nn.Module:
    """An untrained ultralytics detection model of the given architecture."""
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    model: torch.nn.Module = DetectionModel(copy.deepcopy(config), ch=3, nc=classes, verbose=False)
    model.args = get_cfg()
    return model


def architecture() -> dict[str, Any]:
    """YOLO11 narrowed: depth 0.5, width 0.1875 of the published layers."""
    from ultralytics.nn.tasks import yaml_model_load

    config: dict[str, Any] = yaml_model_load("yolo11n.yaml")
    config["scales"] = {"n": [0.50, 0.1875, 1024]}
    config.pop("yaml_file", None)
    return config


def train_detector(
    data: Renders, categories: tuple[str, ...], folder: Path, *, steps: int, batch: int, seed: int
) -> tuple[torch.nn.Module, float]:
    """Train; returns the averaged model and the seconds spent."""
    torch.manual_seed(seed)
    model, kept = new_detector(architecture(), len(categories)), new_detector(architecture(), len(categories))
    kept.load_state_dict(model.state_dict())
    place = device()
    model.to(place).train()
    kept.to(place)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=5e-4)
    boxes = [torch.tensor([t["box"] for t in fact["things"]]) for fact in data.facts]
    labels = [torch.tensor([categories.index(t["category"]) for t in fact["things"]]) for fact in data.facts]

    def step_loss(_: int, generator: torch.Generator) -> torch.Tensor:
        index = torch.randint(0, len(boxes), (batch,), generator=generator)
        pixels = torch.from_numpy(np.stack([data.pixels[int(i)] for i in index])).permute(0, 3, 1, 2).float() / 255
        pixels = degraded(pixels, generator)
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
        loss, _parts = model({key: value.to(place) for key, value in target.items()})
        total: torch.Tensor = loss.sum() / batch
        return total

    seconds = train(
        "detector",
        steps,
        {"model": model, "kept": kept},
        optimiser,
        step_loss,
        folder=folder,
        seed=seed,
        rate=2e-3,
        clip=10.0,
        after=lambda step: average(kept, model, min(0.998, (step + 1) / (step + 10))),
        checkpoint_every=250,
    )
    return kept.cpu().eval(), seconds


def degraded(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Half of the pictures slightly blurred, noisy or re-lit: generated pictures are softer than true ones."""
    count = len(pixels)
    soft = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    amount = (torch.rand(count, 1, 1, 1, generator=generator) * 1.6 - 0.8).clamp(0, 1)
    pixels = pixels.lerp(soft, amount)
    noise = torch.randn(pixels.shape, generator=generator)
    pixels = pixels + noise * (torch.rand(count, 1, 1, 1, generator=generator) * 0.08 - 0.04).clamp(0)
    light = 1 + (torch.rand(count, 1, 1, 1, generator=generator) - 0.5) * 0.2
    return (pixels * light).clamp(0, 1)
