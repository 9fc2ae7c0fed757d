"""The identity encoder of the miniature stack: a small ViT trained by self-distillation (DINO, arXiv 2104.14294).

No label enters: a student sees two large and two small views of one thing, a slow average of it sees the large ones,
and both must agree.  Views change place, size, softness, light and above all what is behind the thing: its visible mask
is known, so another backdrop can be put there.  Without that the backdrop alone tells which views belong together
(tried: the nearest identity was right in 0.52 of cases only).  The hue is left alone: tint is part of an identity here.
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

from layoutmark.diffusion.recipe import Renders
from layoutmark.layout import Mask
from layoutmark.training.loop import device, train

SIZE = 48
SMALL = 32
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
    """Backbone and head together."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = new_vit()
        self.head = Head(self.backbone.config.hidden_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures (n, 3, h, w) to prototype logits, through the CLS token."""
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


def train_dino(data: Renders, folder: Path, *, steps: int, batch: int, seed: int) -> tuple[ViTModel, float]:
    """Train; returns the teacher's backbone and the seconds spent."""
    torch.manual_seed(seed)
    place = device()
    student = Student().to(place)
    teacher = copy.deepcopy(student).requires_grad_(False)
    centre = torch.nn.Linear(PROTOTYPES, 1, bias=False)  # a module only so that checkpoints carry it
    torch.nn.init.zeros_(centre.weight)
    centre.to(place)
    optimiser = torch.optim.AdamW(student.parameters(), lr=1e-3, weight_decay=0.04)

    def step_loss(step: int, _: torch.Generator) -> torch.Tensor:
        draws = np.random.Generator(np.random.PCG64(seed * 1_000_003 + step))
        views = [_views(data, draws) for _ in range(batch)]
        large = torch.cat([_tensor([v[i] for v in views]) for i in (0, 1)]).to(place)
        small = torch.cat([_tensor([v[i] for v in views]) for i in (2, 3)]).to(place)
        with torch.no_grad():
            raw = teacher(large)
            target = F.softmax((raw - centre.weight) / TEACHER_TEMPERATURE, dim=-1).chunk(2)
            centre.weight.lerp_(raw.mean(0, keepdim=True), 1 - CENTRE_DECAY)
        student_large, student_small = student(large).chunk(2), student(small).chunk(2)
        pairs = [(target[0], student_large[1]), (target[1], student_large[0])]
        pairs += [(t, s) for t in target for s in student_small]
        losses = [-(t * F.log_softmax(s / STUDENT_TEMPERATURE, dim=-1)).sum(-1).mean() for t, s in pairs]
        return torch.stack(losses).mean()

    def after(step: int) -> None:
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
        after=after,
        checkpoint_every=250,
    )
    return teacher.backbone.cpu().eval(), seconds


def normalised(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """uint8 (h, w, 3) to float (3, h, w), mean 0.5 and deviation 0.25 per channel."""
    scaled: npt.NDArray[np.float32] = (pixels.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.25)
    return scaled.transpose(2, 0, 1)


def _tensor(images: list[npt.NDArray[np.uint8]]) -> torch.Tensor:
    return torch.from_numpy(np.stack([normalised(i) for i in images]))


def _views(data: Renders, draws: np.random.Generator) -> list[npt.NDArray[np.uint8]]:
    """Two large and two small views of one thing, mostly on other backdrops."""
    index = int(draws.integers(len(data.facts)))
    things = data.facts[index]["things"]
    thing = things[int(draws.integers(len(things)))]
    pixels, mask = np.array(data.pixels[index]), Mask(*thing["mask"]).array()
    sizes = [(SIZE, 0.8, 1.3)] * 2 + [(SMALL, 0.5, 0.9)] * 2
    return [_view(_on_backdrop(pixels, mask, data, draws), np.array(thing["box"]), *size, draws) for size in sizes]


def _on_backdrop(
    pixels: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_], data: Renders, draws: np.random.Generator
) -> Image.Image:
    """The thing where it is, with its own backdrop, a plain colour, or another picture behind it."""
    kind = draws.random()
    if kind < 0.2:
        return Image.fromarray(pixels)
    if kind < 0.6:
        behind = np.empty_like(pixels)
        behind[:] = draws.integers(40, 250, 3)
    else:
        behind = np.roll(data.pixels[int(draws.integers(len(data.facts)))], int(draws.integers(64)), axis=0)
    return Image.fromarray(np.where(mask[..., None], pixels, behind))


def _view(
    image: Image.Image, box: npt.NDArray[np.float64], side: int, low: float, high: float, draws: np.random.Generator
) -> npt.NDArray[np.uint8]:
    width, height = (box[2] - box[0]) * image.width, (box[3] - box[1]) * image.height
    cx, cy = (box[0] + box[2]) / 2 * image.width, (box[1] + box[3]) / 2 * image.height
    w, h = width * draws.uniform(low, high), height * draws.uniform(low, high)
    slack = 0.08 if side == SIZE else 0.2
    cx, cy = cx + width * draws.uniform(-slack, slack), cy + height * draws.uniform(-slack, slack)
    x0, y0 = max(0.0, cx - w / 2), max(0.0, cy - h / 2)
    x1, y1 = min(float(image.width), cx + w / 2), min(float(image.height), cy + h / 2)
    view = image.resize((side, side), Image.Resampling.BICUBIC, box=(x0, y0, x1, y1))
    if draws.random() < 0.3:
        view = view.filter(ImageFilter.GaussianBlur(draws.uniform(0.2, 1.0)))
    pixels = np.asarray(view).astype(np.float32)
    pixels = (pixels - 128) * draws.uniform(0.9, 1.1) + 128 + draws.uniform(-10, 10)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def save_dino(model: ViTModel, folder: Path) -> None:
    """Write transformers' own form: config, half-precision safetensors, channel means and deviations."""
    model.half().save_pretrained(folder)
    card = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": SIZE}
    (folder / "preprocessor_config.json").write_text(json.dumps(card) + "\n", "utf-8")
