"""Training of a method's weights: annotated images, and the recipe that the harness runs.

The method defines what is trained and the loss of one step; the harness owns the loop, checkpoints and resumption.
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


class ImageArray(Protocol):
    """Images, uint8 (n, side, side, 3): an array, or files that are read on access."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, side, side, 3)."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> npt.NDArray[np.uint8]:
        """One image by its index, or several by a slice."""
        ...


@dataclass(frozen=True)
class TrainingImages:
    """Images, uint8 (n, side, side, 3), each annotated with `captions` (a list of strings) and `things`.

    A thing has `category`, `phrase`, `box` (xyxy, fractions of the image) and, if known, `mask` ([height, width, COCO
    run lengths]).
    """

    pixels: ImageArray
    annotations: Sequence[Mapping[str, Any]]

    def layout(self, index: int) -> Layout:
        """Layout of an image: boxes and visible masks, no points or scribbles."""
        things = self.annotations[index]["things"]
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
    """One training run.  `methods/NAME/train.py` offers `recipe(stack, images, **options) -> Recipe`.

    The options come from these sources, each overriding those after it: the command line (`batch`, `steps`),
    `PRESETS` (preset name to keyword arguments), the card's settings that `SETTINGS` names, and `STACKS` (stack name to
    keyword arguments; without it the recipe is for `mini` alone).  All other weights of the stack stay frozen.  The
    optimiser is AdamW with a linear warm-up.
    """

    trainable: torch.nn.Module
    """Its parameters that require a gradient are optimised and saved in checkpoints."""
    step_loss: Callable[[int, torch.Generator], torch.Tensor]
    """Loss of the step with this index; all randomness comes from the generator."""
    save: Callable[[Path], None]
    """Write the weights of `trainable` to a safetensors file, in half precision."""
    steps: int
    batch: int
    """Images per step, for the record."""
    learning_rate: float
    warmup: int = 200
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    learning_rate_factor: Callable[[str], float] = lambda name: 1.0  # noqa: ARG005
    """Multiplies the learning rate of a parameter of `trainable`, given its name."""
    modules_to_compile: Sequence[torch.nn.Module] = ()
    """Modules that a long training run compiles first."""
    learning_rate_schedule: Literal["cosine", "constant"] = "cosine"
    """After the warm-up: half a cosine down to a twentieth, or constant."""
    ema_decay: float | None = None
    """Decay of the exponential moving average whose weights are saved; None saves the weights of the last step."""
    seed: int = 1
