"""How training pictures become noisy latents, and how much the error of a step counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DDPMScheduler

from layoutmark.diffusion.stack import Stack

MOST_WEIGHT = 30.0
MOST_SIGNAL = 10.0


def kept_signal(scheduler_config: Mapping[str, Any]) -> torch.Tensor:
    """Share of the signal's variance that is left at each training step, (1000,), falling from almost 1 to almost 0."""
    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    betas = {key: scheduler_config[key] for key in keys if scheduler_config.get(key) is not None}
    kept: torch.Tensor = DDPMScheduler(**betas).alphas_cumprod
    return kept


def noisy(clean: torch.Tensor, noise: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Latents (B, C, h, w) with noise of the same shape; `kept` (B,) is the share of the signal's variance left."""
    share = kept.view(-1, 1, 1, 1)
    return share.sqrt() * clean + (1 - share).sqrt() * noise


def loss_weight(snr: torch.Tensor) -> torch.Tensor:
    """Weight of the noise error at a signal-to-noise ratio: that of the velocity error, bounded at both ends.

    With the plain error the noisiest third of the steps weighs almost nothing (0.004 against 0.2), and there it is
    decided what is drawn where: after 5,500 steps the miniature generator was worse there than the mean picture, and
    words hardly mattered.
    """
    return torch.clamp(1 + 1 / snr, max=MOST_WEIGHT) * torch.clamp(MOST_SIGNAL / snr, max=1.0)


@torch.no_grad()
def encode_pictures(stack: Stack, pixels: npt.NDArray[np.uint8], at_once: int = 256) -> torch.Tensor:
    """Pictures uint8 (n, H, W, 3) to latents (n, C, h, w) in half precision on the CPU: the mean of the posterior."""
    latents = []
    shift = stack.vae.config.get("shift_factor") or 0.0
    for start in range(0, len(pixels), at_once):
        chunk = torch.from_numpy(np.array(pixels[start : start + at_once])).to(stack.device)
        unit = chunk.permute(0, 3, 1, 2).to(stack.vae.dtype) / 127.5 - 1
        mean = stack.vae.encode(unit).latent_dist.mode()
        latents.append(((mean - shift) * stack.vae.config.scaling_factor).half().cpu())
    return torch.cat(latents)
