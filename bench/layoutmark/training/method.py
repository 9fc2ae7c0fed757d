"""Run the recipe of a method: train its parameters with the shared loop and write the weights file."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch
from torch import nn

from layoutmark.atomic import staged_file, write_text
from layoutmark.diffusion.mixed_precision import has_bfloat16
from layoutmark.diffusion.recipe import Recipe
from layoutmark.training.distributed import SINGLE_PROCESS, ProcessGroup
from layoutmark.training.loop import MIN_STEPS_TO_COMPILE, SCHEDULES, train, update_average


def train_method(
    name: str,
    recipe: Recipe,
    work: Path,
    out: Path,
    *,
    generator_digest: str,
    scale: float = 1.0,
    accumulate: int = 1,
    group: ProcessGroup = SINGLE_PROCESS,
    checkpoint_every: int = 250,
) -> dict[str, Any]:
    """Train, resuming from `work/NAME.pt`; write the weights to `out` and a JSON file with their provenance beside it.

    `generator_digest` is the sha256 of the frozen U-Net's file, since the weights only fit that U-Net.  `scale` scales
    the number of steps.  Each step takes `accumulate` batches on every process of the group; the first process writes.
    Returns the content of the JSON file.
    """
    named_parameters = [(n, p) for n, p in recipe.trainable.named_parameters() if p.requires_grad]
    trained = nn.ParameterList([p for _, p in named_parameters])
    averaged = nn.ParameterList([nn.Parameter(p.detach().clone(), requires_grad=False) for p in trained])
    scales = [recipe.learning_rate_factor(n) for n, _ in named_parameters]
    groups = [
        {
            "params": [p for p, scale_factor in zip(trained, scales, strict=True) if scale_factor == factor],
            "scale": factor,
        }
        for factor in sorted(set(scales))
    ]
    optimiser = torch.optim.AdamW(
        groups, lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=True
    )

    def after_step(step: int) -> None:
        decay = 0.0 if recipe.ema_decay is None else min(recipe.ema_decay, (step + 1) / (step + 10))
        update_average(averaged, trained, decay)

    steps = max(1, round(recipe.steps * scale))
    if steps >= MIN_STEPS_TO_COMPILE:
        for module in recipe.modules_to_compile:
            module.compile()
    modules: dict[str, nn.Module] = {"trained": trained, "kept": averaged}
    seconds = train(
        name, steps, modules, optimiser, recipe.step_loss, folder=work, seed=recipe.seed, rate=recipe.learning_rate,
        warmup=recipe.warmup, schedule=SCHEDULES[recipe.learning_rate_schedule], after_step=after_step,
        checkpoint_every=checkpoint_every, accumulate=accumulate, group=group,
        facts={"batch": recipe.batch, "rate": recipe.learning_rate, "generator": generator_digest},
    )  # fmt: skip
    with torch.no_grad():
        for parameter, averaged_parameter in zip(trained, averaged, strict=True):
            parameter.copy_(averaged_parameter)
    facts = {
        "batch": recipe.batch * accumulate * group.size,
        "generator": generator_digest,
        "machine": {
            "bf16": has_bfloat16(named_parameters[0][1].device),
            "cores": os.cpu_count(),
            "gpu": torch.cuda.is_available(),
            "processor": platform.machine(),
        },
        "parameters": sum(p.numel() for p in trained),
        "rate": recipe.learning_rate,
        "seconds": round(seconds),
        "steps": steps,
    }
    if group.rank == 0:
        with staged_file(out) as staging:
            recipe.save(staging)
        write_text(out.with_suffix(".json"), json.dumps(facts, indent=1, sort_keys=True) + "\n")
    group.wait()
    return facts
