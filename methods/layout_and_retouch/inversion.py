"""DDIM inversion: the noisy latents that a deterministic sampler would pass through on its way to a given picture."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDIMInverseScheduler

from layoutmark.diffusion.sampling import Denoiser


@torch.no_grad()
def invert(denoiser: Denoiser, clean: torch.Tensor, scheduler: Any) -> torch.Tensor:
    """Trajectory (steps + 1, B, C, h, w) of clean latents (B, C, h, w): noisiest first, `clean` itself last.

    Args:
        denoiser: predicts the noise on the way; an empty prompt and guidance 1 are usual.
        clean: latents of true pictures.
        scheduler: the DDIM scheduler (leading or trailing spacing) whose timesteps are walked backwards.

    Element i is what `scheduler` holds before its step i.  Exact only where the noise does not change from one step to
    the next (Song et al., arXiv 2010.02502, section 4.3).
    """
    backwards = DDIMInverseScheduler.from_config(scheduler.config)
    backwards.set_timesteps(len(scheduler.timesteps), device=clean.device)
    passed = [clean]
    for timestep in backwards.timesteps:
        noise = denoiser.noise(passed[-1], timestep)
        passed.append(backwards.step(noise, timestep, passed[-1], return_dict=False)[0])
    return torch.stack(passed[::-1])
