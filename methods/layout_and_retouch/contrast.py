"""Location of phrases in an image: cells whose predicted noise changes when a phrase is removed from the prompt.

As in DiffEdit (Couairon et al., arXiv 2210.11427, section 3.2), which adds noise to a finished image; here the noisy
latents are those of the image's own trajectory.  Unlike cross-attention maps this works where attention does not
distinguish between words.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel

START, STOP, STRIDE = 0.2, 0.8, 2
"""Compare predictions between 20 % and 80 % of the steps, every second step; earlier, the layout has not formed."""
CLIP_QUANTILE = 0.97
"""Relevance is clipped to this quantile of its map, so that a few extreme cells do not dominate."""


def compared_steps(steps: int) -> range:
    """Indices of the steps at which predictions are compared; at least one.

    >>> list(compared_steps(10))
    [2, 4, 6]
    """
    start = int(START * steps)
    return range(start, max(round(STOP * steps), start + 1), STRIDE)


@torch.no_grad()
def contrast(
    unet: UNet2DConditionModel, text: torch.Tensor, without: torch.Tensor, trajectory: torch.Tensor, scheduler: Any
) -> torch.Tensor:
    """Relevance of each latent cell to each of K phrases: non-negative float32, shape (K, h, w).

    The absolute difference in predicted noise, averaged over channels, summed over steps, smoothed over 3 x 3 cells.

    Args:
        unet: without any subject adapter.
        text: embeddings of the prompt, (1, 77, channels).
        without: embeddings of the prompt without each of the phrases, (K, 77, channels).
        trajectory: latents before every step and after the last, (steps + 1, 1, C, h, w).
        scheduler: configured like the one that produced the trajectory, with as many steps.
    """
    texts = torch.cat([text, without]).to(unet.dtype)
    total = torch.zeros(len(without), *trajectory.shape[-2:], device=trajectory.device)
    for index in compared_steps(len(trajectory) - 1):
        timestep = scheduler.timesteps[index]
        scaled = scheduler.scale_model_input(trajectory[index], timestep).expand(len(texts), -1, -1, -1)
        noise = unet(scaled.to(unet.dtype), timestep, encoder_hidden_states=texts, return_dict=False)[0].float()
        total += (noise[1:] - noise[:1]).abs().mean(1)
    smooth = F.avg_pool2d(total[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    upper = smooth.flatten(1).quantile(CLIP_QUANTILE, dim=1)
    return smooth.minimum(upper[:, None, None])


def keep_strongest(maps: torch.Tensor) -> torch.Tensor:
    """Divide each of the maps (K, h, w) by its maximum and set it to 0 where another map is greater."""
    share = maps / maps.amax((1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)
    return torch.where(share >= share.amax(0), share, 0)
