"""Renders for training: created once from a seed range that no suite uses, and stored as arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from layoutmark.atomic import staged_file, write_text
from layoutmark.diffusion.recipe import TrainingImages

TRAIN_SEED = 10_000_000
"""First seed of training renders; seeds of suites and held-out renders are smaller."""
HELD_OUT_SEED = 5_500_000
"""First seed of the held-out renders for model cards.  Renders from 5,000,000 were used while choosing the CLIP and
must not be reused."""


class World(Protocol):
    """The interface of a suite folder's `build.py` that training needs."""

    categories: tuple[str, ...]
    fillers: tuple[str, ...]
    """Words that are common in real captions but have no meaning in this world."""

    def draw(self, seed: int, side: int) -> Mapping[str, Any]:
        """One image: `pixels` (side, side, 3) uint8, `captions` (several), `things` (box, mask, category, ...)."""
        ...

    def portraits(self) -> Mapping[tuple[str, str, str], npt.NDArray[np.uint8]]:
        """One image (h, w, 3) per identity (category, style, tint), cropped to the object's visible box."""
        ...


def render_images(world: World, folder: Path, first_seed: int, count: int, side: int) -> TrainingImages:
    """Render `count` images, or read them from `folder` if they exist."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"renders-{first_seed}-{count}-{side}"
    pixels_file, annotations_file = stem.with_suffix(".npy"), stem.with_suffix(".jsonl")
    if not annotations_file.exists():
        pixels = np.empty((count, side, side, 3), dtype=np.uint8)
        lines = []
        for i in range(count):
            render = dict(world.draw(first_seed + i, side))
            pixels[i] = render.pop("pixels")
            lines.append(json.dumps(render))
        with staged_file(pixels_file) as staging, staging.open("wb") as file:
            np.save(file, pixels)
        write_text(annotations_file, "\n".join(lines))
    annotations = [json.loads(line) for line in annotations_file.read_text("utf-8").splitlines()]
    return TrainingImages(np.load(pixels_file, mmap_mode="r"), annotations)
