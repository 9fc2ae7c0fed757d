"""How training pictures become noisy latents, and how much the error of a step counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DDPMScheduler

from layoutmark.diffusion.recipe import Pictures
from layoutmark.diffusion.stack import Stack

BLOCK_PIXELS = 2**20
"""Pixels that are encoded together: 256 miniature pictures, or 4 of 512 pixels."""
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


def encode_pictures(stack: Stack, pixels: Pictures, at_once: int = 256) -> torch.Tensor:
    """Pictures uint8 (n, H, W, 3) to latents (n, C, h, w) in half precision on the CPU: the mean of the posterior."""
    return torch.cat([_encoded(stack, pixels[at : at + at_once]) for at in range(0, len(pixels), at_once)])


class Latents:
    """Latents of training pictures as `encode_pictures` gives them, made when first asked for and kept.

    Pictures are encoded in fixed blocks, so a latent does not depend on which were asked for before.
    """

    def __init__(self, stack: Stack, pixels: Pictures) -> None:
        self.stack = stack
        self.pixels = pixels
        self.block = max(1, BLOCK_PIXELS // (pixels.shape[1] * pixels.shape[2]))
        self._made: dict[int, torch.Tensor] = {}

    def __getitem__(self, which: Sequence[int]) -> torch.Tensor:
        """Latents (len(which), C, h, w) of these pictures."""
        for number in sorted({index // self.block for index in which} - self._made.keys()):
            start = number * self.block
            self._made[number] = _encoded(self.stack, self.pixels[start : start + self.block])
        return torch.stack([self._made[index // self.block][index % self.block] for index in which])


@torch.no_grad()
def _encoded(stack: Stack, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
    shift = stack.vae.config.get("shift_factor") or 0.0
    unit = torch.from_numpy(np.array(pixels)).to(stack.device).permute(0, 3, 1, 2).to(stack.vae.dtype) / 127.5 - 1
    mean = stack.vae.encode(unit).latent_dist.mode()
    latents: torch.Tensor = ((mean - shift) * stack.vae.config.scaling_factor).half().cpu()
    return latents
