"""DDIM inversion: the noisy latents from which a deterministic sampler would arrive at a given image."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDIMInverseScheduler

from layoutmark.diffusion.sampling import Denoiser


@torch.no_grad()
def invert(denoiser: Denoiser, clean: torch.Tensor, scheduler: Any) -> torch.Tensor:
    """Trajectory (steps + 1, B, C, h, w) of clean latents (B, C, h, w): noisiest first, `clean` last.

    Args:
        denoiser: predicts the noise; usually with an empty prompt and guidance 1.
        clean: latents of real images.
        scheduler: the DDIM scheduler (leading or trailing spacing) to invert.

    Element i corresponds to the latents before step i of `scheduler`.  Exact only if the predicted noise is the same in
    consecutive steps (Song et al., arXiv 2010.02502, section 4.3).
    """
    backwards = DDIMInverseScheduler.from_config(scheduler.config)
    backwards.set_timesteps(len(scheduler.timesteps), device=clean.device)
    trajectory = [clean]
    for timestep in backwards.timesteps:
        noise = denoiser.noise(trajectory[-1], timestep)
        trajectory.append(backwards.step(noise, timestep, trajectory[-1], return_dict=False)[0])
    return torch.stack(trajectory[::-1])
