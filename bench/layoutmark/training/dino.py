"""Train the miniature stack's identity encoder: a small ViT with self-distillation (DINO, arXiv 2104.14294).

No labels are used: a student sees two large and two small views of one object, a moving average of it sees the large
ones, and both must agree.  Views vary in position, size, blur, brightness and above all in the background, which the
known visible mask allows to replace.  Without this, the background alone identifies matching views (the nearest
identity was correct in only 0.52 of cases).  Hue is not varied, because the tint is part of an identity here.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from transformers import ViTConfig, ViTModel

from layoutmark.atomic import write_text
from layoutmark.diffusion.recipe import TrainingImages
from layoutmark.layout import Mask
from layoutmark.training.loop import train, training_device

SIZE = 48
SMALL_SIZE = 32
PROTOTYPES = 512
STUDENT_TEMPERATURE, TEACHER_TEMPERATURE, CENTRE_DECAY = 0.1, 0.04, 0.9


class Head(torch.nn.Module):
    """DINO's projection: two hidden layers, a unit-length bottleneck and weight-normalised prototypes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(width, 256),
            torch.nn.GELU(),
            torch.nn.Linear(256, 256),
            torch.nn.GELU(),
            torch.nn.Linear(256, 64),
        )
        self.prototypes = torch.nn.Parameter(torch.randn(PROTOTYPES, 64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (n, width) to prototype logits (n, PROTOTYPES)."""
        return F.normalize(self.layers(x), dim=-1) @ F.normalize(self.prototypes, dim=-1).T


class Student(torch.nn.Module):
    """Backbone and projection head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = new_vit()
        self.head = Head(self.backbone.config.hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (n, 3, h, w) to prototype logits, from the CLS token."""
        out = self.backbone(pixel_values=x, interpolate_pos_encoding=True).last_hidden_state[:, 0]
        logits: torch.Tensor = self.head(out)
        return logits


def new_vit() -> ViTModel:
    """An untrained ViT of the miniature shape."""
    return ViTModel(
        ViTConfig(
            hidden_size=144,
            num_hidden_layers=5,
            num_attention_heads=4,
            intermediate_size=432,
            image_size=SIZE,
            patch_size=8,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        add_pooling_layer=False,
    )


def train_dino(data: TrainingImages, folder: Path, *, steps: int, batch: int, seed: int) -> tuple[ViTModel, float]:
    """Train the encoder; returns the teacher's backbone and the seconds spent."""
    torch.manual_seed(seed)
    device = training_device()
    student = Student().to(device)
    teacher = copy.deepcopy(student).requires_grad_(False)
    centre = torch.nn.Linear(PROTOTYPES, 1, bias=False)  # a module, so that checkpoints include it
    torch.nn.init.zeros_(centre.weight)
    centre.to(device)
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-3, weight_decay=0.04)

    def step_loss(step: int, _: torch.Generator) -> torch.Tensor:
        draws = np.random.Generator(np.random.PCG64(seed * 1_000_003 + step))
        views = [_views(data, draws) for _ in range(batch)]
        large = torch.cat([_tensor([v[i] for v in views]) for i in (0, 1)]).to(device)
        small = torch.cat([_tensor([v[i] for v in views]) for i in (2, 3)]).to(device)
        with torch.no_grad():
            teacher_logits = teacher(large)
            target = F.softmax((teacher_logits - centre.weight) / TEACHER_TEMPERATURE, dim=-1).chunk(2)
            centre.weight.lerp_(teacher_logits.mean(0, keepdim=True), 1 - CENTRE_DECAY)
        student_large, student_small = student(large).chunk(2), student(small).chunk(2)
        pairs = [(target[0], student_large[1]), (target[1], student_large[0])]
        pairs += [(t, s) for t in target for s in student_small]
        losses = [-(t * F.log_softmax(s / STUDENT_TEMPERATURE, dim=-1)).sum(-1).mean() for t, s in pairs]
        return torch.stack(losses).mean()

    def after_step(step: int) -> None:
        decay = 1 - 0.008 * (1 - step / steps)
        with torch.no_grad():
            for a, b in zip(teacher.parameters(), student.parameters(), strict=True):
                a.lerp_(b, 1 - decay)

    modules = {"student": student, "teacher": teacher, "centre": centre}
    seconds = train(
        "dino",
        steps,
        modules,
        optimiser,
        step_loss,
        folder=folder,
        seed=seed,
        rate=1e-3,
        after_step=after_step,
        checkpoint_every=250,
    )
    return teacher.backbone.cpu().eval(), seconds


def normalise(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Normalise uint8 (h, w, 3) to float (3, h, w), with mean 0.5 and standard deviation 0.25 per channel."""
    scaled: npt.NDArray[np.float32] = (pixels.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.25)
    return scaled.transpose(2, 0, 1)


def _tensor(images: list[npt.NDArray[np.uint8]]) -> torch.Tensor:
    return torch.from_numpy(np.stack([normalise(i) for i in images]))


def _views(data: TrainingImages, draws: np.random.Generator) -> list[npt.NDArray[np.uint8]]:
    """Two large and two small views of one object, mostly with replaced backgrounds."""
    index = int(draws.integers(len(data.annotations)))
    things = data.annotations[index]["things"]
    thing = things[int(draws.integers(len(things)))]
    pixels, mask = np.array(data.pixels[index]), Mask(*thing["mask"]).to_array()
    sizes = [(SIZE, 0.8, 1.3)] * 2 + [(SMALL_SIZE, 0.5, 0.9)] * 2
    return [
        _view(_with_random_background(pixels, mask, data, draws), np.array(thing["box"]), *size, draws)
        for size in sizes
    ]


def _with_random_background(
    pixels: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_], data: TrainingImages, draws: np.random.Generator
) -> Image.Image:
    """The object in place, on its own background, a plain colour, or another image."""
    choice = draws.random()
    if choice < 0.2:
        return Image.fromarray(pixels)
    if choice < 0.6:
        background = np.empty_like(pixels)
        background[:] = draws.integers(40, 250, 3)
    else:
        background = np.roll(data.pixels[int(draws.integers(len(data.annotations)))], int(draws.integers(64)), axis=0)
    return Image.fromarray(np.where(mask[..., None], pixels, background))


def _view(
    image: Image.Image, box: npt.NDArray[np.float64], side: int, low: float, high: float, draws: np.random.Generator
) -> npt.NDArray[np.uint8]:
    width, height = (box[2] - box[0]) * image.width, (box[3] - box[1]) * image.height
    cx, cy = (box[0] + box[2]) / 2 * image.width, (box[1] + box[3]) / 2 * image.height
    w, h = width * draws.uniform(low, high), height * draws.uniform(low, high)
    max_shift = 0.08 if side == SIZE else 0.2
    cx, cy = cx + width * draws.uniform(-max_shift, max_shift), cy + height * draws.uniform(-max_shift, max_shift)
    x0, y0 = max(0.0, cx - w / 2), max(0.0, cy - h / 2)
    x1, y1 = min(float(image.width), cx + w / 2), min(float(image.height), cy + h / 2)
    view = image.resize((side, side), Image.Resampling.BICUBIC, box=(x0, y0, x1, y1))
    if draws.random() < 0.3:
        view = view.filter(ImageFilter.GaussianBlur(draws.uniform(0.2, 1.0)))
    pixels = np.asarray(view).astype(np.float32)
    pixels = (pixels - 128) * draws.uniform(0.9, 1.1) + 128 + draws.uniform(-10, 10)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def save_dino(model: ViTModel, folder: Path) -> None:
    """Save in the format of transformers: config, half-precision safetensors, channel means and deviations."""
    model.half().save_pretrained(folder)
    card = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": SIZE}
    write_text(folder / "preprocessor_config.json", json.dumps(card) + "\n")
