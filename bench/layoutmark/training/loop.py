"""What every recipe shares: a resumable loop with checkpoints, a learning-rate curve and an averaged copy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from layoutmark.errors import LayoutmarkError
from layoutmark.training.distributed import ALONE, Team

WORTH_COMPILING = 500
"""From this many steps on, the half minute that compiling takes is won back: a compiled step takes two thirds."""


def device() -> torch.device:
    """Where training runs: a GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cosine(step: int, steps: int, warmup: int) -> float:
    """Learning-rate factor: linear warm-up, then half a cosine down to a twentieth."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))


def constant(step: int, steps: int, warmup: int) -> float:  # noqa: ARG001
    """Learning-rate factor: linear warm-up, then 1."""
    return (step + 1) / warmup if step < warmup else 1.0


CURVES = {"cosine": cosine, "constant": constant}


def average(target: torch.nn.Module, source: torch.nn.Module, decay: float) -> None:
    """Move the averaged weights of `target` towards `source`; buffers are copied."""
    with torch.no_grad():
        for a, b in zip(target.parameters(), source.parameters(), strict=True):
            a.lerp_(b, 1 - decay)
        for held, fresh in zip(target.buffers(), source.buffers(), strict=True):
            held.copy_(fresh)


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
    after: Callable[[int], None] | None = None,
    checkpoint_every: int = 500,
    curve: Callable[[int, int, int], float] = cosine,
    accumulate: int = 1,
    team: Team = ALONE,
    facts: Mapping[str, Any] | None = None,
) -> float:
    """Run to `steps`, resuming from `folder/NAME.pt` if it is there; returns seconds spent over all sittings.

    A step is the mean of `accumulate` batches on each process of the team.  Batch order and noise come from a generator
    seeded by (seed, number of the batch), so a resumed run repeats an unbroken one bit for bit, and two processes take
    the batches that one would accumulate.  `facts` are kept in the checkpoint: going on with others is refused.
    """
    facts = {"steps": steps, "accumulate": accumulate, "processes": team.size, **(facts or {})}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.pt"
    start, spent = 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True, map_location="cpu")
        _same(path, state.get("facts", facts), facts)
        start, spent = int(state["step"]), float(state["seconds"])
        optimiser.load_state_dict(state["optimiser"])
        for key, module in modules.items():
            module.load_state_dict(state["modules"][key])
    begun, losses = time.monotonic(), []
    for step in range(start, steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * group.get("scale", 1.0) * curve(step, steps, warmup)
        optimiser.zero_grad(set_to_none=True)
        for part in range(accumulate):
            number = (step * accumulate + part) * team.size + team.rank
            generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
            # On a CPU the fused attention's backward pass takes two fifths of a step on heads this small.
            with sdpa_kernel([SDPBackend.MATH]) if not torch.cuda.is_available() else nullcontext():
                loss = step_loss(step, generator) / accumulate
                loss.backward()
            losses.append(accumulate * loss.detach())
        parameters = [p for g in optimiser.param_groups for p in g["params"]]
        team.average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimiser.step()
        if after is not None:
            after(step)
        done = step + 1
        if team.rank == 0 and (done % 100 == 0 or done == steps):
            mean = torch.stack(losses).mean().item()
            losses.clear()
            elapsed = spent + time.monotonic() - begun
            print(f"{name}: step {done} of {steps}, loss {mean:.4f}, {elapsed:.0f} s", flush=True)
        if team.rank == 0 and (done % checkpoint_every == 0 or done == steps):
            state = {
                "facts": facts,
                "step": done,
                "seconds": spent + time.monotonic() - begun,
                "optimiser": optimiser.state_dict(),
                "modules": {key: module.state_dict() for key, module in modules.items()},
            }
            torch.save(state, path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)
    team.wait()
    return spent + time.monotonic() - begun


def _same(path: Path, held: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = sorted(key for key in held.keys() | now.keys() if held.get(key) != now.get(key))
    if changed:
        raise LayoutmarkError(
            f"checkpoint {path.name!r}", found=", ".join(f"{key} {held.get(key)!r}" for key in changed),
            expected=", ".join(f"{now.get(key)!r}" for key in changed),
            do="Go on with the options it was begun with, or give another --work.",
        )  # fmt: skip
