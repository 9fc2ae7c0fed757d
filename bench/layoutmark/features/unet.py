"""A small U-Net that predicts, in the crop around a box, which pixels belong to the object in the box."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F

CHANNELS = 4
"""Red, green, blue, and the share of each pixel that is inside the box."""


class Block(torch.nn.Module):
    """Two convolutions, each followed by batch normalisation and SiLU."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(*_convolution(width_in, width), *_convolution(width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, width_in, h, w) to (n, width, h, w)."""
        output: torch.Tensor = self.layers(x)
        return output


class UNet(torch.nn.Module):
    """One block per level, halved by max pooling on the way down, doubled (nearest) and concatenated on the way up."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.down = torch.nn.ModuleList(Block(a, b) for a, b in zip((CHANNELS, *widths), widths, strict=False))
        pairs = list(pairwise(widths))[::-1]
        self.up = torch.nn.ModuleList(Block(a + b, a) for a, b in pairs)
        self.head = torch.nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map crops (n, CHANNELS, s, s) in [0, 1] to logits (n, s, s); s is divisible by 2 ** (levels - 1)."""
        skips: list[torch.Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x * 2 - 1)
            skips.append(x)
        skips.pop()
        for block in self.up:
            x = block(torch.cat([F.interpolate(x, scale_factor=2), skips.pop()], dim=1))
        logits: torch.Tensor = self.head(x)
        return logits[:, 0]


def _convolution(width_in: int, width: int) -> tuple[torch.nn.Module, ...]:
    return torch.nn.Conv2d(width_in, width, 3, padding=1, bias=False), torch.nn.BatchNorm2d(width), torch.nn.SiLU()
