"""Runs the recipe of a method: the shared loop over the parameters it trains, and the file of weights in the end."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch
from torch import nn

from layoutmark.diffusion.mixed_precision import has_bfloat16
from layoutmark.diffusion.recipe import Recipe
from layoutmark.training.distributed import ALONE, Team
from layoutmark.training.loop import CURVES, WORTH_COMPILING, average, train


def train_method(
    name: str,
    recipe: Recipe,
    work: Path,
    out: Path,
    *,
    made_on: str,
    scale: float = 1.0,
    accumulate: int = 1,
    team: Team = ALONE,
    checkpoint_every: int = 250,
) -> dict[str, Any]:
    """Train, resuming from `work/NAME.pt`, and write the weights to `out` and beside them what made them.

    `made_on` is the sha256 of the frozen UNet's file: on another one the weights mean nothing.  `scale` shortens the
    number of steps.  Each step takes `accumulate` batches on every process of the team, of which the first writes.
    Returns what is written beside the weights.
    """
    named = [(n, p) for n, p in recipe.trained.named_parameters() if p.requires_grad]
    trained = nn.ParameterList([p for _, p in named])
    kept = nn.ParameterList([nn.Parameter(p.detach().clone(), requires_grad=False) for p in trained])
    scales = [recipe.faster(n) for n, _ in named]
    groups = [
        {"params": [p for p, own in zip(trained, scales, strict=True) if own == factor], "scale": factor}
        for factor in sorted(set(scales))
    ]
    optimiser = torch.optim.AdamW(
        groups, lr=recipe.rate, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=True
    )

    def after(step: int) -> None:
        decay = 0.0 if recipe.average is None else min(recipe.average, (step + 1) / (step + 10))
        average(kept, trained, decay)

    steps = max(1, round(recipe.steps * scale))
    if steps >= WORTH_COMPILING:
        for module in recipe.compiled:
            module.compile()
    modules: dict[str, nn.Module] = {"trained": trained, "kept": kept}
    seconds = train(
        name, steps, modules, optimiser, recipe.step_loss, folder=work, seed=recipe.seed, rate=recipe.rate, after=after,
        warmup=recipe.warmup, checkpoint_every=checkpoint_every, curve=CURVES[recipe.curve], accumulate=accumulate,
        team=team, facts={"batch": recipe.batch, "rate": recipe.rate, "generator": made_on},
    )  # fmt: skip
    with torch.no_grad():
        for own, averaged in zip(trained, kept, strict=True):
            own.copy_(averaged)
    facts = {
        "batch": recipe.batch * accumulate * team.size,
        "generator": made_on,
        "machine": {
            "bf16": has_bfloat16(named[0][1].device),
            "cores": os.cpu_count(),
            "gpu": torch.cuda.is_available(),
            "processor": platform.machine(),
        },
        "parameters": sum(p.numel() for p in trained),
        "rate": recipe.rate,
        "seconds": round(seconds),
        "steps": steps,
    }
    if team.rank == 0:
        out.parent.mkdir(parents=True, exist_ok=True)
        recipe.save(out)
        out.with_suffix(".json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", "utf-8")
    team.wait()
    return facts
