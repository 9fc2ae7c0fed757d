"""What a method is trained by: pictures with what is in them, and a recipe that the harness runs.

The method says what is trained and what one step's loss is; the harness owns the loop, its checkpoints and resumption.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from layoutmark.layout import Box, Canvas, Instance, Layout, Mask


class Pictures(Protocol):
    """Pictures uint8 (n, side, side, 3): an array, or files that are read when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, side, side, 3)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, at: Any, /) -> npt.NDArray[np.uint8]:
        """One picture by its index, or several by a slice."""
        ...


@dataclass(frozen=True)
class Renders:
    """Pictures as uint8 (n, side, side, 3); per picture plain data: `captions` (several), `things`.

    A thing has `category`, `phrase`, `box` (fractions xyxy) and, where it is known, `mask` ([height, width, COCO run
    lengths]).
    """

    pixels: Pictures
    facts: Sequence[Mapping[str, Any]]

    def layout(self, index: int) -> Layout:
        """What is where in a picture: boxes and visible masks, no points or scribbles."""
        things = self.facts[index]["things"]
        height, width = self.pixels.shape[1:3]
        instances = [
            Instance(
                str(number), thing["phrase"], thing["category"], Box(*thing["box"]),
                mask=Mask(*thing["mask"]) if thing.get("mask") else None,
            )
            for number, thing in enumerate(things)
        ]  # fmt: skip
        return Layout(Canvas(int(width), int(height)), tuple(instances))


@dataclass(frozen=True, eq=False)
class Recipe:
    """One training.  `methods/NAME/train.py` offers `recipe(stack, pictures, **told) -> Recipe`.

    What it is told comes, later ones first, from the command (`batch`, `steps`), from `PRESETS` (preset to keywords),
    from the card's settings named in `SETTINGS`, and from `STACKS` (stack to keywords; without it there is a recipe for
    mini alone).  Every other weight of the stack stays as it is.  AdamW with a linear warm-up.
    """

    trained: torch.nn.Module
    """What is optimised and kept in checkpoints; parameters that need no gradient stay out of both."""
    step_loss: Callable[[int, torch.Generator], torch.Tensor]
    """Loss of the step of that index; all chance comes from the generator."""
    save: Callable[[Path], None]
    """Write the weights that stand in `trained` to a safetensors file, in half precision."""
    steps: int
    batch: int
    """Pictures a step, for the record."""
    rate: float
    warmup: int = 200
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    faster: Callable[[str], float] = lambda name: 1.0  # noqa: ARG005
    """Factor on the rate of a parameter of `trained`, by its name."""
    compiled: Sequence[torch.nn.Module] = ()
    """Modules that a long training compiles first."""
    curve: Literal["cosine", "constant"] = "cosine"
    """What becomes of the rate after the warm-up: half a cosine down to a twentieth, or nothing."""
    average: float | None = None
    """Decay of the moving average whose weights are saved; None saves the last ones."""
    seed: int = 1
