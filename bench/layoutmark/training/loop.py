"""What every recipe shares: a resumable loop with checkpoints, a learning-rate curve and an averaged copy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

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
) -> float:
    """Run to `steps`, resuming from `folder/NAME.pt` if it is there; returns seconds spent over all sittings.

    Batch order and noise come from a generator seeded by (seed, step), so a resumed run repeats an unbroken one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.pt"
    start, spent = 0, 0.0
    if path.exists():
        state = torch.load(path, weights_only=True, map_location="cpu")
        start, spent = int(state["step"]), float(state["seconds"])
        optimiser.load_state_dict(state["optimiser"])
        for key, module in modules.items():
            module.load_state_dict(state["modules"][key])
    begun, losses = time.monotonic(), []
    for step in range(start, steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        for group in optimiser.param_groups:
            group["lr"] = rate * group.get("scale", 1.0) * cosine(step, steps, warmup)
        optimiser.zero_grad(set_to_none=True)
        # On a CPU the fused attention's backward pass takes two fifths of a step on heads this small.
        with sdpa_kernel([SDPBackend.MATH]) if not torch.cuda.is_available() else nullcontext():
            loss = step_loss(step, generator)
            loss.backward()
        torch.nn.utils.clip_grad_norm_([p for g in optimiser.param_groups for p in g["params"]], clip)
        optimiser.step()
        losses.append(loss.detach())
        if after is not None:
            after(step)
        done = step + 1
        if done % 100 == 0 or done == steps:
            mean = torch.stack(losses).mean().item()
            losses.clear()
            elapsed = spent + time.monotonic() - begun
            print(f"{name}: step {done} of {steps}, loss {mean:.4f}, {elapsed:.0f} s", flush=True)
        if done % checkpoint_every == 0 or done == steps:
            state = {
                "step": done,
                "seconds": spent + time.monotonic() - begun,
                "optimiser": optimiser.state_dict(),
                "modules": {key: module.state_dict() for key, module in modules.items()},
            }
            torch.save(state, path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)
    return spent + time.monotonic() - begun
