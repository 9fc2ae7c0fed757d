"""Samplers by name, with every option that can change an image fixed here."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, LMSDiscreteScheduler

from layoutmark.diffusion.stack import Stack
from layoutmark.errors import unknown_name_error

SAMPLERS = ("lms", "ddim", "euler")


def new_scheduler(stack: Stack, name: str, steps: int) -> Any:
    """A new deterministic scheduler with `steps` timesteps on the stack's noise schedule.

    `lms` (order 4) and `euler` space timesteps evenly from the noisiest to 0; `ddim` (eta 0) uses leading spacing with
    offset 1, as Stable Diffusion does.  Raises LayoutmarkError for any other name.
    """
    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    betas = {key: stack.scheduler_config[key] for key in keys if stack.scheduler_config.get(key) is not None}
    scheduler: Any
    if name == "lms":
        scheduler = LMSDiscreteScheduler(**betas, timestep_spacing="linspace")
    elif name == "euler":
        scheduler = EulerDiscreteScheduler(**betas, timestep_spacing="linspace")
    elif name == "ddim":
        scheduler = DDIMScheduler(
            **betas, timestep_spacing="leading", steps_offset=1, clip_sample=False, set_alpha_to_one=False
        )
    else:
        raise unknown_name_error("sampler", name, SAMPLERS)
    scheduler.set_timesteps(steps, device=stack.device)
    return scheduler


def noise_level(scheduler: Any, timestep: torch.Tensor) -> float:
    """Variance-exploding noise level sqrt((1 - abar) / abar) at a timestep, interpolated between integer timesteps.

    The definition is the same for every scheduler and does not depend on the scale of its latents.
    """
    alphas_cumprod = scheduler.alphas_cumprod.cpu().numpy()
    levels = ((1 - alphas_cumprod) / alphas_cumprod) ** 0.5
    return float(np.float32(np.interp(float(timestep), np.arange(len(levels)), levels)))
