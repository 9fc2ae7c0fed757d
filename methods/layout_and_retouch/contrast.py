"""Where a picture has what some words mean: the cells whose predicted noise changes when the words are left out.

As in DiffEdit (Couairon et al., arXiv 2210.11427, section 3.2), which adds noise to a finished picture; here the
noisy latents are those through which the picture was drawn.  Unlike a cross-attention map this works where attention
does not tell words apart.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel

FIRST, LAST, EVERY = 0.2, 0.8, 2
"""Shares of the steps between which it is looked, at every how many of them.  Before, little has a place yet."""
CLIPPED = 0.97
"""Cells above this quantile count as it, so that a few extreme ones do not drown the rest."""


def looked_at(steps: int) -> range:
    """The steps, counted from 0, at which predictions are compared; at least one."""
    first = int(FIRST * steps)
    return range(first, max(round(LAST * steps), first + 1), EVERY)


@torch.no_grad()
def contrast(
    unet: UNet2DConditionModel, text: torch.Tensor, without: torch.Tensor, trajectory: torch.Tensor, scheduler: Any
) -> torch.Tensor:
    """How much of each of K wordings a latent cell has: (K, h, w) in float32, at least 0, without a unit.

    The mean over channels of the absolute difference, summed over steps and smoothed over 3 x 3 cells.

    Args:
        unet: the plain one.
        text: embeddings (1, 77, channels) of the prompt.
        without: (K, 77, channels) of the same prompt without one of the wordings each.
        trajectory: latents (steps + 1, 1, C, h, w) before every step and after the last.
        scheduler: one like that they were drawn with, for as many steps.
    """
    texts = torch.cat([text, without]).to(unet.dtype)
    total = torch.zeros(len(without), *trajectory.shape[-2:], device=trajectory.device)
    for index in looked_at(len(trajectory) - 1):
        timestep = scheduler.timesteps[index]
        scaled = scheduler.scale_model_input(trajectory[index], timestep).expand(len(texts), -1, -1, -1)
        noise = unet(scaled.to(unet.dtype), timestep, encoder_hidden_states=texts, return_dict=False)[0].float()
        total += (noise[1:] - noise[:1]).abs().mean(1)
    smooth = F.avg_pool2d(total[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    most = smooth.flatten(1).quantile(CLIPPED, dim=1)
    return smooth.minimum(most[:, None, None])


def parted(maps: torch.Tensor) -> torch.Tensor:
    """Maps (K, h, w), each divided by its greatest value, and 0 where another's is greater: a cell is of one thing."""
    share = maps / maps.amax((1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)
    return torch.where(share >= share.amax(0), share, 0)
