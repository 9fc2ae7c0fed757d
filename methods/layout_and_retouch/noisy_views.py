"""Training examples of a personalisation: views of a subject with noise, and the UNet's prediction of that noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from layoutmark.diffusion.noising import add_noise
from layoutmark.diffusion.stack import Stack


@dataclass(frozen=True, eq=False)
class NoisyViews:
    """A batch of noisy views of a subject.

    View indices and training timesteps have shape (n,), noise and noisy latents (n, C, h, w); all are on the stack's
    device.
    """

    view_indices: torch.Tensor
    timesteps: torch.Tensor
    noise: torch.Tensor
    noisy_latents: torch.Tensor

    @classmethod
    def sample(
        cls, count: int, latents: torch.Tensor, alphas_cumprod: torch.Tensor, generator: torch.Generator
    ) -> NoisyViews:
        """Independent random views and timesteps.

        Args:
            count: number of noisy views.
            latents: clean latents of the views, (views, C, h, w).
            alphas_cumprod: signal variance at each training timestep, (timesteps,).
            generator: source of all randomness.
        """
        view_indices = torch.randint(0, len(latents), (count,), generator=generator)
        timesteps = torch.randint(0, len(alphas_cumprod), (count,), generator=generator)
        return cls._with_noise(view_indices, timesteps, latents, alphas_cumprod, generator)

    @classmethod
    def sample_stratified(
        cls, count: int, latents: torch.Tensor, alphas_cumprod: torch.Tensor, generator: torch.Generator
    ) -> NoisyViews:
        """Views in turn, and in random order one timestep from each of `count` equal intervals.  See `sample`."""
        times = (torch.arange(count) + torch.rand(count, generator=generator)) * (len(alphas_cumprod) / count)
        order = torch.randperm(count, generator=generator)
        timesteps = times[order].long().clamp(max=len(alphas_cumprod) - 1)
        view_indices = torch.arange(count) % len(latents)
        return cls._with_noise(view_indices, timesteps, latents, alphas_cumprod, generator)

    @classmethod
    def _with_noise(
        cls, view_indices: torch.Tensor, timesteps: torch.Tensor, latents: torch.Tensor, alphas_cumprod: torch.Tensor,
        generator: torch.Generator,
    ) -> NoisyViews:  # fmt: skip
        view_indices, timesteps = view_indices.to(latents.device), timesteps.to(latents.device)
        noise = torch.randn((len(view_indices), *latents.shape[1:]), generator=generator).to(latents.device)
        noisy_latents = add_noise(latents[view_indices], noise, alphas_cumprod[timesteps])
        return cls(view_indices, timesteps, noise, noisy_latents)

    def select(self, rows: torch.Tensor) -> NoisyViews:
        """The noisy views with these indices."""
        return NoisyViews(self.view_indices[rows], self.timesteps[rows], self.noise[rows], self.noisy_latents[rows])

    def predict_noise(self, stack: Stack, text: torch.Tensor) -> torch.Tensor:
        """Noise (n, C, h, w) predicted by the UNet, given the embeddings of one prompt, (1, 77, channels)."""
        noise: torch.Tensor = stack.unet(
            self.noisy_latents.to(stack.unet.dtype), self.timesteps,
            encoder_hidden_states=text.expand(len(self.timesteps), -1, -1), return_dict=False,
        )[0]  # fmt: skip
        return noise


class LastBlockPredictor:
    """Predicts the noise of fixed noisy views by running only the UNet's last decoder block and output layers.

    The inputs of that block are computed once.  The result equals a full forward pass if no earlier weight changes.
    """

    def __init__(self, stack: Stack, views: NoisyViews, text: torch.Tensor) -> None:
        self.unet = stack.unet
        calls: list[dict[str, Any]] = []
        block = self.unet.up_blocks[-1]
        hook = block.register_forward_pre_hook(lambda _, __, inputs: calls.append(inputs), with_kwargs=True)
        try:
            with torch.no_grad():
                views.predict_noise(stack, text)
        finally:
            hook.remove()
        self.block_inputs = calls[0]

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Noise predicted for the noisy views with these indices, (len(rows), C, h, w)."""
        inputs = {name: _select_rows(value, rows) for name, value in self.block_inputs.items()}
        hidden = self.unet.up_blocks[-1](**inputs)
        noise: torch.Tensor = self.unet.conv_out(self.unet.conv_act(self.unet.conv_norm_out(hidden)))
        return noise


def _select_rows(value: Any, rows: torch.Tensor) -> Any:
    """Select rows of a tensor or of a tuple of tensors; other values are returned unchanged."""
    if isinstance(value, tuple):
        return tuple(_select_rows(item, rows) for item in value)
    return value[rows] if isinstance(value, torch.Tensor) else value
