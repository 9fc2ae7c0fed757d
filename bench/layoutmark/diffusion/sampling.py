"""The denoising loop: initial noise, classifier-free guidance, hooks, and decoding of latents to pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from layoutmark.diffusion.attention import CrossAttention
from layoutmark.diffusion.prompts import TextEmbeddings
from layoutmark.diffusion.schedulers import noise_level
from layoutmark.diffusion.stack import Stack


def initial_noise(stack: Stack, seeds: Sequence[int]) -> torch.Tensor:
    """Standard normal latents, float32 (B, C, h, w); one CPU generator per image, so all devices get equal noise."""
    shape = stack.latent_shape
    noise = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(noise).to(stack.device)


@dataclass(frozen=True, eq=False)
class Denoiser:
    """Predicts guided noise from scaled latents, with a UNet, text embeddings and a guidance scale.

    `split_cfg` runs the unconditional half separately and without a graph: half the memory, equal up to rounding.
    `attention` is told which rows of the batch are conditional.
    """

    unet: UNet2DConditionModel
    text: TextEmbeddings
    guidance_scale: float
    split_cfg: bool = False
    attention: CrossAttention | None = None

    def noise(self, model_input: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """eps_u + guidance_scale * (eps_c - eps_u) for scaled latents (B, C, h, w), in their dtype."""
        count = len(model_input)
        if self.text.unconditional is self.text.conditional:  # both halves would be equal
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
    """One step of the loop.  `latents` (B, C, h, w) have the scheduler's scale; a hook may replace them."""

    index: int
    timestep: torch.Tensor
    sigma: float
    """Variance-exploding noise level sqrt((1 - abar) / abar), for every scheduler."""
    latents: torch.Tensor
    scheduler: Any
    denoiser: Denoiser

    @property
    def model_input(self) -> torch.Tensor:
        """Latents scaled to unit variance, the input of the UNet."""
        scaled: torch.Tensor = self.scheduler.scale_model_input(self.latents, self.timestep)
        return scaled

    def noise(self, model_input: torch.Tensor | None = None) -> torch.Tensor:
        """Guided noise at this step, for `model_input` if given, else for the step's own."""
        return self.denoiser.noise(self.model_input if model_input is None else model_input, self.timestep)


Predictor = Callable[[Step], torch.Tensor]
"""Returns the noise (B, C, h, w) of a step."""
StepHook = Callable[[Step], None]
"""Called before the prediction of every step; may change the step."""


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

    `on_step` is called before every prediction and may replace `step.latents`; `predict` returns the noise that the
    scheduler uses (and keeps in its history).  Gradients are disabled; a hook or predictor that needs them enables
    them itself.
    """
    latents: torch.Tensor = noise * scheduler.init_noise_sigma
    for index, timestep in enumerate(scheduler.timesteps):
        step = Step(index, timestep, noise_level(scheduler, timestep), latents, scheduler, denoiser)
        if on_step is not None:
            on_step(step)
        predicted = predict(step)
        # Some schedulers warn unless this is called, and a predictor may not have asked for the model input.
        scheduler.scale_model_input(step.latents, timestep)
        latents = scheduler.step(predicted, timestep, step.latents, return_dict=False)[0]
    return latents


@torch.no_grad()
def decode(stack: Stack, latents: torch.Tensor) -> torch.Tensor:
    """Decode clean latents (B, C, h, w) to images, uint8 (B, 3, H, W), 0..255; NaN becomes 0."""
    scaled = latents / stack.vae.config.scaling_factor + (stack.vae.config.get("shift_factor") or 0.0)
    decoded = stack.vae.decode(scaled.to(stack.vae.dtype), return_dict=False)[0]
    unit: torch.Tensor = (decoded.float() / 2 + 0.5).clamp(0, 1).nan_to_num(0)
    return (unit * 255).round().to(torch.uint8)


def are_finite(latents: torch.Tensor) -> list[bool]:
    """Whether all latents of each image, (B, ...), are finite; if not, the image is meaningless."""
    return [bool(value) for value in latents.isfinite().flatten(1).all(1)]
