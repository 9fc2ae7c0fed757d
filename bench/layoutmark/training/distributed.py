"""Distributed training through accelerate: several processes train one set of weights, each on its own device."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process within a group of `size`; all hold the same weights and see different batches."""

    size: int = 1
    rank: int = 0
    device: str | None = None
    """Device of this process; None leaves the choice to the code that loads the models."""
    accelerator: Any = None

    def average_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace each gradient by its mean over all processes; a no-op for a single process."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.size == 1 or not gradients:
            return
        # Reduced in one exchange, because there are hundreds of small tensors.
        mean = self.accelerator.reduce(torch.cat([g.flatten() for g in gradients]), reduction="mean")
        for gradient, averaged in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(averaged.view_as(gradient))

    def wait(self) -> None:
        """Block until all processes have reached this point."""
        if self.size > 1:
            self.accelerator.wait_for_everyone()


SINGLE_PROCESS = ProcessGroup()


def join_process_group() -> ProcessGroup:
    """The group started by `accelerate launch` or torchrun, or a group of this single process."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return SINGLE_PROCESS
    from accelerate import Accelerator

    accelerator = Accelerator()
    device = str(accelerator.device)
    return ProcessGroup(accelerator.num_processes, accelerator.process_index, device, accelerator)
