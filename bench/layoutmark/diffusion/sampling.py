"""The denoising loop with classifier-free guidance, its noise, its hooks, and latents to pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from layoutmark.diffusion.attention import CrossAttention
from layoutmark.diffusion.prompts import Text
from layoutmark.diffusion.schedulers import noise_level
from layoutmark.diffusion.stack import Stack


def initial_noise(stack: Stack, seeds: Sequence[int]) -> torch.Tensor:
    """Standard normal latents (B, C, h, w), float32, each image from its own CPU generator: equal on every device."""
    shape = stack.latent_shape
    drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(drawn).to(stack.device)


@dataclass(frozen=True, eq=False)
class Denoiser:
    """A UNet with its text and guidance: what turns a scaled latent into guided noise.

    `split_cfg` runs the unconditional half by itself without a graph: half the memory, equal up to rounding.
    `attention` is told which rows are conditional.
    """

    unet: UNet2DConditionModel
    text: Text
    guidance_scale: float
    split_cfg: bool = False
    attention: CrossAttention | None = None

    def noise(self, model_input: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """eps_u + guidance_scale * (eps_c - eps_u) for scaled latents (B, C, h, w), in their dtype."""
        count = len(model_input)
        if self.text.unconditional is self.text.conditional:  # both halves would be the same
            return self._run(model_input, timestep, self.text.conditional, slice(None))
        if self.split_cfg:
            with torch.no_grad():
                unconditional = self._run(model_input, timestep, self.text.unconditional, slice(0, 0))
            conditional = self._run(model_input, timestep, self.text.conditional, slice(None))
        else:
            text = torch.cat([self.text.unconditional, self.text.conditional])
            both = self._run(torch.cat([model_input] * 2), timestep, text, slice(count, 2 * count))
            unconditional, conditional = both.chunk(2)
        return unconditional + self.guidance_scale * (conditional - unconditional)

    def _run(self, model_input: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor, rows: slice) -> torch.Tensor:
        if self.attention is not None:
            self.attention.rows = rows
        predicted: torch.Tensor = self.unet(
            model_input.to(self.unet.dtype), timestep, encoder_hidden_states=text, return_dict=False
        )[0]
        return predicted.to(model_input.dtype)


@dataclass(eq=False)
class Step:
    """One step of the loop.  `latents` have the scheduler's scale; a hook may replace them before the prediction."""

    index: int
    timestep: torch.Tensor
    sigma: float
    """Variance-exploding noise level sqrt((1 - abar) / abar), whatever the scheduler."""
    latents: torch.Tensor
    scheduler: Any
    denoiser: Denoiser

    @property
    def model_input(self) -> torch.Tensor:
        """Latents at unit variance, as the UNet takes them."""
        scaled: torch.Tensor = self.scheduler.scale_model_input(self.latents, self.timestep)
        return scaled

    def noise(self, model_input: torch.Tensor | None = None) -> torch.Tensor:
        """Guided noise at this step, for `model_input` if given."""
        return self.denoiser.noise(self.model_input if model_input is None else model_input, self.timestep)


Predictor = Callable[[Step], torch.Tensor]
StepHook = Callable[[Step], None]


@torch.no_grad()
def denoise(
    denoiser: Denoiser,
    noise: torch.Tensor,
    scheduler: Any,
    *,
    predict: Predictor = Step.noise,
    on_step: StepHook | None = None,
) -> torch.Tensor:
    """Run all timesteps of a fresh scheduler from unit noise (B, C, h, w) to clean latents of the same shape.

    `on_step` is called before every prediction and may replace `step.latents`; `predict` gives the noise that the
    scheduler steps with (and keeps in its history).  Gradients are off; a hook that needs one turns them on for itself.
    """
    latents: torch.Tensor = noise * scheduler.init_noise_sigma
    for index, timestep in enumerate(scheduler.timesteps):
        step = Step(index, timestep, noise_level(scheduler, timestep), latents, scheduler, denoiser)
        if on_step is not None:
            on_step(step)
        predicted = predict(step)
        # Marks the scheduler as scaled even if a predictor never asked for the model input.
        scheduler.scale_model_input(step.latents, timestep)
        latents = scheduler.step(predicted, timestep, step.latents, return_dict=False)[0]
    return latents


@torch.no_grad()
def decode(stack: Stack, latents: torch.Tensor) -> torch.Tensor:
    """Clean latents (B, C, h, w) to uint8 images (B, 3, H, W), 0..255, rounded; not-a-number becomes 0."""
    scaled = latents / stack.vae.config.scaling_factor + (stack.vae.config.get("shift_factor") or 0.0)
    decoded = stack.vae.decode(scaled.to(stack.vae.dtype), return_dict=False)[0]
    unit: torch.Tensor = (decoded.float() / 2 + 0.5).clamp(0, 1).nan_to_num(0)
    return (unit * 255).round().to(torch.uint8)


def finite(latents: torch.Tensor) -> list[bool]:
    """Per image, whether every number is finite: False means that the picture says nothing."""
    return [bool(value) for value in latents.isfinite().flatten(1).all(1)]
