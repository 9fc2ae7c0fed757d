"""Renders for training: drawn once from a seed range that no suite uses, kept as arrays on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from layoutmark.diffusion.recipe import Renders

TRAIN_SEED = 10_000_000
"""Seeds of suites and of the held-out check stay below this; training renders start here."""
HELD_OUT_SEED = 5_500_000
"""First seed of the held-out renders that model cards are measured on.  Those from 5,000,000 served while the CLIP was
being chosen, so they are spent."""


class World(Protocol):
    """What training needs of a suite folder's `build.py`."""

    categories: tuple[str, ...]
    fillers: tuple[str, ...]
    """Words without meaning in this world, common in real captions."""

    def draw(self, seed: int, side: int) -> Mapping[str, Any]:
        """One picture: `pixels` (side, side, 3) uint8, `captions` (several), `things` (box, mask, category, ...)."""
        ...

    def portraits(self) -> Mapping[tuple[str, str, str], npt.NDArray[np.uint8]]:
        """One picture (h, w, 3) of every identity (category, style, tint), cut to the thing's visible box."""
        ...


def renders(world: World, folder: Path, first_seed: int, count: int, side: int) -> Renders:
    """Draw `count` pictures, or read them back from `folder` if they were drawn before."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"renders-{first_seed}-{count}-{side}"
    arrays, facts_file = stem.with_suffix(".npy"), stem.with_suffix(".jsonl")
    if not facts_file.exists():
        pixels = np.empty((count, side, side, 3), dtype=np.uint8)
        lines = []
        for i in range(count):
            drawn = dict(world.draw(first_seed + i, side))
            pixels[i] = drawn.pop("pixels")
            lines.append(json.dumps(drawn))
        np.save(arrays, pixels)
        facts_file.write_text("\n".join(lines), "utf-8")
    facts = [json.loads(line) for line in facts_file.read_text("utf-8").splitlines()]
    return Renders(np.load(arrays, mmap_mode="r"), facts)
