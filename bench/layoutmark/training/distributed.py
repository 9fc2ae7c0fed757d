"""Several processes that train one set of weights, each on its own GPU or share of the cores, through accelerate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Team:
    """This process among `size`; every one holds the same weights and sees other batches."""

    size: int = 1
    rank: int = 0
    device: str | None = None
    """Where this process trains; None leaves the choice to whoever loads the models."""
    accelerator: Any = None

    def average_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace each gradient by its mean over all processes; alone nothing happens."""
        held = [p.grad for p in parameters if p.grad is not None]
        if self.size == 1 or not held:
            return
        # One exchange for all: there are hundreds of small tensors.
        mean = self.accelerator.reduce(torch.cat([g.flatten() for g in held]), reduction="mean")
        for gradient, part in zip(held, mean.split([g.numel() for g in held]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            self.accelerator.wait_for_everyone()


ALONE = Team()


def assemble() -> Team:
    """The team that `accelerate launch` or torchrun started this process for; else this process alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    from accelerate import Accelerator

    accelerator = Accelerator()
    device = str(accelerator.device)
    return Team(accelerator.num_processes, accelerator.process_index, device, accelerator)
