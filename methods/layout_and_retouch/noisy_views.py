"""What a personalisation learns from: a subject's views with noise, and a UNet that has to find the noise in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from layoutmark.diffusion.noising import noisy
from layoutmark.diffusion.stack import Stack


@dataclass(frozen=True, eq=False)
class NoisyViews:
    """Some of a subject's views with noise: which view, at which time, with which noise, and the result.

    `index`, `time` (n,), `noise` and `noisy` (n, C, h, w), all on the stack's device.
    """

    index: torch.Tensor
    time: torch.Tensor
    noise: torch.Tensor
    noisy: torch.Tensor

    @classmethod
    def free(cls, count: int, latents: torch.Tensor, kept: torch.Tensor, generator: torch.Generator) -> NoisyViews:
        """All by chance."""
        index = torch.randint(0, len(latents), (count,), generator=generator)
        time = torch.randint(0, len(kept), (count,), generator=generator)
        return cls._made(index, time, latents, kept, generator)

    @classmethod
    def stratified(
        cls, count: int, latents: torch.Tensor, kept: torch.Tensor, generator: torch.Generator
    ) -> NoisyViews:
        """Views in turn, and one time out of each of `count` equal spans, in an order by chance."""
        time = (torch.arange(count) + torch.rand(count, generator=generator)) * (len(kept) / count)
        order = torch.randperm(count, generator=generator)
        last = len(kept) - 1
        index = torch.arange(count) % len(latents)
        return cls._made(index, time[order].long().clamp(max=last), latents, kept, generator)

    @classmethod
    def _made(
        cls, index: torch.Tensor, time: torch.Tensor, latents: torch.Tensor, kept: torch.Tensor,
        generator: torch.Generator,
    ) -> NoisyViews:  # fmt: skip
        index, time = index.to(latents.device), time.to(latents.device)
        noise = torch.randn((len(index), *latents.shape[1:]), generator=generator).to(latents.device)
        return cls(index, time, noise, noisy(latents[index], noise, kept[time]))

    def at(self, rows: torch.Tensor) -> NoisyViews:
        """Some of them."""
        return NoisyViews(self.index[rows], self.time[rows], self.noise[rows], self.noisy[rows])

    def predicted(self, stack: Stack, text: torch.Tensor) -> torch.Tensor:
        """The noise that the UNet sees in them under one text (1, 77, c)."""
        said = text.expand(len(self.time), -1, -1)
        found: torch.Tensor = stack.unet(
            self.noisy.to(stack.unet.dtype), self.time, encoder_hidden_states=said, return_dict=False
        )[0]
        return found


class LastBlock:
    """The UNet's prediction for views of which all that comes before its last decoder block was computed once.

    Gives the same as a whole pass as long as nothing before that block changes.
    """

    def __init__(self, stack: Stack, views: NoisyViews, text: torch.Tensor) -> None:
        self.unet = stack.unet
        seen: list[dict[str, Any]] = []
        block = self.unet.up_blocks[-1]
        hook = block.register_forward_pre_hook(lambda _, __, given: seen.append(given), with_kwargs=True)
        try:
            with torch.no_grad():
                views.predicted(stack, text)
        finally:
            hook.remove()
        self.given = seen[0]

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """The noise in the views `rows`."""
        given = {name: _rows(value, rows) for name, value in self.given.items()}
        hidden = self.unet.up_blocks[-1](**given)
        found: torch.Tensor = self.unet.conv_out(self.unet.conv_act(self.unet.conv_norm_out(hidden)))
        return found


def _rows(value: Any, rows: torch.Tensor) -> Any:
    """Rows of a tensor or of each of several; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(_rows(part, rows) for part in value)
    return value[rows] if isinstance(value, torch.Tensor) else value
