"""ScaleU: learned rescaling of backbone and skip features in the decoder (InstanceDiffusion, arXiv 2402.03290).

It is part of the network, not of the grounding: it acts in both halves of guidance and after grounding has ended.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from layoutmark.errors import LayoutmarkError

RESNETS = 3
"""Residual blocks per decoder block in Stable Diffusion; decoder stage i is block i // 3, residual block i % 3."""


def backbone_channels(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Channels of the backbone features that enter each decoder stage, from the U-Net's config."""
    widths = list(reversed(config["block_out_channels"]))
    stages: list[int] = []
    for block, width in enumerate(widths):
        stages.append(widths[max(block - 1, 0)])
        stages += [width] * int(config["layers_per_block"])
    return tuple(stages)


@functools.cache
def low_waves(height: int, width: int) -> torch.Tensor:
    """Orthogonal waves (H * W, 7) at frequencies 0 and -1 of both axes: a constant, three cosines, three sines."""
    y, x = torch.arange(height) * (2 * math.pi / height), torch.arange(width) * (2 * math.pi / width)
    phases = [(y[:, None] * a + x[None, :] * b).flatten() for a, b in ((0, 1), (1, 0), (1, 1))]
    waves = [torch.ones(height * width), *(p.cos() for p in phases), *(p.sin() for p in phases)]
    return torch.stack(waves, 1) / math.sqrt(height * width)


def scale_low_frequencies(features: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Multiply frequencies 0 and -1 of both axes of features (B, C, H, W) by a scalar; real part, same dtype.

    In the shifted spectrum, this is the 2 x 2 block left of and above the centre, so it is not symmetric.  Four
    frequencies need no transform: their component is a projection onto a few waves.  Computed in float32.
    """
    waves = low_waves(*features.shape[-2:]).to(features.device)
    flat = features.float().flatten(2)
    low = ((flat @ waves) @ waves.T).view(features.shape)
    return (features.float() + (scale.float() - 1) * low).to(features.dtype)


class ScaleU(nn.Module):
    """One vector b and one scalar s per decoder stage; at 0, where training starts, features are unchanged."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.b = nn.ParameterList(nn.Parameter(torch.zeros(count)) for count in channels)
        self.s = nn.ParameterList(nn.Parameter(torch.zeros(1)) for _ in channels)

    def forward(self, joined: torch.Tensor, stage: int) -> torch.Tensor:
        """Rescale concatenated backbone and skip features (B, C_b + C_s, H, W); the shape is kept.

        Backbone channels are multiplied by 1 + tanh(b), low frequencies of the skip features by 1 + tanh(s).
        """
        b = self.b[stage]
        backbone, skip = joined[:, : len(b)], joined[:, len(b) :]
        scaled = backbone * (1 + b.tanh())[:, None, None]
        filtered = scale_low_frequencies(skip, 1 + self.s[stage].tanh())
        return torch.cat([scaled, filtered], 1)

    def attach(self, unet: Any) -> list[RemovableHandle]:
        """Hook into every decoder stage of a stock U-Net; removing the returned handles undoes it.

        Raises LayoutmarkError if the decoder has a different number of stages.
        """
        stages = [resnet for block in unet.up_blocks for resnet in block.resnets]
        if len(stages) != len(self.b):
            raise LayoutmarkError(
                "ScaleU", found=f"a decoder of {len(stages)} stages", expected=f"{len(self.b)} stages",
                do="Use the U-Net that the weights were trained with.",
            )  # fmt: skip
        return [resnet.register_forward_pre_hook(self._rescaling_hook(stage)) for stage, resnet in enumerate(stages)]

    def _rescaling_hook(self, stage: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
        def rescale(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:  # noqa: ARG001
            return (self(inputs[0], stage), *inputs[1:])

        return rescale
