"""The training loop of every recipe: resumable, with checkpoints, a learning-rate schedule and averaged weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from layoutmark.atomic import staged_file
from layoutmark.errors import LayoutmarkError
from layoutmark.training.distributed import SINGLE_PROCESS, ProcessGroup

MIN_STEPS_TO_COMPILE = 500
"""From this many steps, the half minute spent on compiling pays off: a compiled step takes two thirds of the time."""


def training_device() -> torch.device:
    """The device used for training: a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cosine(step: int, steps: int, warmup: int) -> float:
    """Learning-rate factor: linear warm-up, then half a cosine down to a twentieth.

    >>> cosine(0, 100, 10), round(cosine(100, 100, 10), 3)
    (0.1, 0.05)
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))


def constant(step: int, steps: int, warmup: int) -> float:  # noqa: ARG001
    """Learning-rate factor: linear warm-up, then 1."""
    return (step + 1) / warmup if step < warmup else 1.0


SCHEDULES = {"cosine": cosine, "constant": constant}


def update_average(target: torch.nn.Module, source: torch.nn.Module, decay: float) -> None:
    """Update the moving average `target` with the weights of `source`; buffers are copied."""
    with torch.no_grad():
        for averaged, current in zip(target.parameters(), source.parameters(), strict=True):
            averaged.lerp_(current, 1 - decay)
        for buffer, current_buffer in zip(target.buffers(), source.buffers(), strict=True):
            buffer.copy_(current_buffer)


def train(
    name: str,
    steps: int,
    modules: dict[str, torch.nn.Module],
    optimiser: torch.optim.Optimizer,
    step_loss: Callable[[int, torch.Generator], torch.Tensor],
    *,
    folder: Path,
    seed: int,
    rate: float,
    warmup: int = 200,
    clip: float = 1.0,
    after_step: Callable[[int], None] | None = None,
    checkpoint_every: int = 500,
    schedule: Callable[[int, int, int], float] = cosine,
    accumulate: int = 1,
    group: ProcessGroup = SINGLE_PROCESS,
    facts: Mapping[str, Any] | None = None,
) -> float:
    """Train for `steps`, resuming from `folder/NAME.pt` if it exists; returns the total seconds over all sessions.

    A step averages `accumulate` batches on each process of the group.  Batch order and noise come from a generator
    seeded by (seed, batch number), so a resumed run is bit-identical to an uninterrupted one, and two processes take
    the batches that one process would accumulate.  `facts` are stored in the checkpoint; resuming with different ones
    raises LayoutmarkError.
    """
    facts = {"steps": steps, "accumulate": accumulate, "processes": group.size, **(facts or {})}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.pt"
    start, spent = 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True, map_location="cpu")
        _check_facts(path, state.get("facts", facts), facts)
        start, spent = int(state["step"]), float(state["seconds"])
        optimiser.load_state_dict(state["optimiser"])
        for key, module in modules.items():
            module.load_state_dict(state["modules"][key])
    started, losses = time.monotonic(), []
    for step in range(start, steps):
        for parameter_group in optimiser.param_groups:
            parameter_group["lr"] = rate * parameter_group.get("scale", 1.0) * schedule(step, steps, warmup)
        optimiser.zero_grad(set_to_none=True)
        for index in range(accumulate):
            number = (step * accumulate + index) * group.size + group.rank
            generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
            # On a CPU, fused attention spends two fifths of a step in the backward pass for heads this small.
            with sdpa_kernel([SDPBackend.MATH]) if not torch.cuda.is_available() else nullcontext():
                loss = step_loss(step, generator) / accumulate
                loss.backward()
            losses.append(accumulate * loss.detach())
        parameters = [p for g in optimiser.param_groups for p in g["params"]]
        group.average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimiser.step()
        if after_step is not None:
            after_step(step)
        finished_steps = step + 1
        if group.rank == 0 and (finished_steps % 100 == 0 or finished_steps == steps):
            mean = torch.stack(losses).mean().item()
            losses.clear()
            elapsed = spent + time.monotonic() - started
            print(f"{name}: step {finished_steps} of {steps}, loss {mean:.4f}, {elapsed:.0f} s", flush=True)
        if group.rank == 0 and (finished_steps % checkpoint_every == 0 or finished_steps == steps):
            state = {
                "facts": facts,
                "step": finished_steps,
                "seconds": spent + time.monotonic() - started,
                "optimiser": optimiser.state_dict(),
                "modules": {key: module.state_dict() for key, module in modules.items()},
            }
            with staged_file(path) as staging:
                torch.save(state, staging)
    group.wait()
    return spent + time.monotonic() - started


def _check_facts(path: Path, stored: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    changed = sorted(key for key in stored.keys() | current.keys() if stored.get(key) != current.get(key))
    if changed:
        raise LayoutmarkError(
            f"checkpoint {path.name!r}", found=", ".join(f"{key} {stored.get(key)!r}" for key in changed),
            expected=", ".join(f"{current.get(key)!r}" for key in changed),
            do="Resume with the options it was started with, or pass another --work.",
        )  # fmt: skip
