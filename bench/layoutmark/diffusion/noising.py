"""From training images to noisy latents, and the loss weight of a noise level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DDPMScheduler

from layoutmark.diffusion.recipe import ImageArray
from layoutmark.diffusion.stack import Stack

BLOCK_PIXELS = 2**20
"""Pixels that `LatentCache` encodes in one batch: 256 images of the stack `mini`, or 4 of 512 x 512 pixels."""
MAX_LOSS_WEIGHT = 30.0
MAX_SNR = 10.0
"""Above this signal-to-noise ratio the loss weight falls."""


def get_alphas_cumprod(scheduler_config: Mapping[str, Any]) -> torch.Tensor:
    """Cumulative product of alphas at each training timestep, (1000,), falling from almost 1 to almost 0."""
    keys = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    betas = {key: scheduler_config[key] for key in keys if scheduler_config.get(key) is not None}
    alphas_cumprod: torch.Tensor = DDPMScheduler(**betas).alphas_cumprod
    return alphas_cumprod


def add_noise(clean: torch.Tensor, noise: torch.Tensor, alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """sqrt(abar) * clean + sqrt(1 - abar) * noise: latents and noise (B, C, h, w), `alphas_cumprod` (B,)."""
    abar = alphas_cumprod.view(-1, 1, 1, 1)
    return abar.sqrt() * clean + (1 - abar).sqrt() * noise


def loss_weight(snr: torch.Tensor) -> torch.Tensor:
    """Weight of the squared noise error at a signal-to-noise ratio: that of the velocity error, bounded at both ends.

    With an unweighted loss the noisiest third of the timesteps contributes almost nothing (0.004 against 0.2), although
    the composition is decided there: after 5,500 steps the generator of `mini` was worse at those timesteps than the
    mean image, and prompts had hardly any effect.
    """
    return torch.clamp(1 + 1 / snr, max=MAX_LOSS_WEIGHT) * torch.clamp(MAX_SNR / snr, max=1.0)


def encode_images(stack: Stack, pixels: ImageArray, batch_size: int = 256) -> torch.Tensor:
    """Images uint8 (n, H, W, 3) to latents (n, C, h, w), float16 on the CPU: the mode of the posterior."""
    return torch.cat([_encode(stack, pixels[i : i + batch_size]) for i in range(0, len(pixels), batch_size)])


class LatentCache:
    """Latents of training images as `encode_images` gives them, computed on first access.

    Images are encoded in fixed blocks, so a latent does not depend on the order of access.
    """

    def __init__(self, stack: Stack, pixels: ImageArray) -> None:
        self.stack = stack
        self.pixels = pixels
        self.block_size = max(1, BLOCK_PIXELS // (pixels.shape[1] * pixels.shape[2]))
        self._blocks: dict[int, torch.Tensor] = {}

    def __getitem__(self, indices: Sequence[int]) -> torch.Tensor:
        """Latents (len(indices), C, h, w) of these images."""
        size = self.block_size
        for block in sorted({index // size for index in indices} - self._blocks.keys()):
            self._blocks[block] = _encode(self.stack, self.pixels[block * size : (block + 1) * size])
        return torch.stack([self._blocks[index // size][index % size] for index in indices])


@torch.no_grad()
def _encode(stack: Stack, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
    shift = stack.vae.config.get("shift_factor") or 0.0
    unit = torch.from_numpy(np.array(pixels)).to(stack.device).permute(0, 3, 1, 2).to(stack.vae.dtype) / 127.5 - 1
    mean = stack.vae.encode(unit).latent_dist.mode()
    latents: torch.Tensor = ((mean - shift) * stack.vae.config.scaling_factor).half().cpu()
    return latents
