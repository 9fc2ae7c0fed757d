"""DDIM inversion runs through the sampler's own noise levels."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from diffusers import DDIMScheduler

from layoutmark.diffusion import Denoiser, TextEmbeddings, new_scheduler
from layoutmark.methods.layout_and_retouch.inversion import invert

STEPS = 6


@dataclass
class ConstantDenoiser:
    """Always predicts the same noise."""

    value: torch.Tensor

    def noise(self, _: torch.Tensor, __: torch.Tensor) -> torch.Tensor:
        return self.value


@pytest.fixture
def clean() -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_the_round_trip_is_exact_with_constant_noise(stack, clean, spacing: str) -> None:
    config = dict(new_scheduler(stack, "ddim", STEPS).config) | {"timestep_spacing": spacing}
    scheduler = DDIMScheduler.from_config(config)
    scheduler.set_timesteps(STEPS)
    denoiser = ConstantDenoiser(torch.randn_like(clean))
    trajectory = invert(denoiser, clean, scheduler)
    assert trajectory.shape == (STEPS + 1, 1, 4, 16, 16)
    latents = trajectory[0]
    for index, timestep in enumerate(scheduler.timesteps):
        torch.testing.assert_close(latents, trajectory[index], atol=1e-13, rtol=0)
        latents = scheduler.step(denoiser.value, timestep, latents, return_dict=False)[0]
    torch.testing.assert_close(latents, clean, atol=1e-13, rtol=0)
    assert not torch.allclose(trajectory[0], clean)


def test_the_trajectory_ends_at_the_clean_latents(stack, clean) -> None:
    text = torch.randn(1, 77, 24)
    clean = clean.float()
    denoiser = Denoiser(stack.unet, TextEmbeddings(text, text), 1.0)
    trajectory = invert(denoiser, clean, new_scheduler(stack, "ddim", STEPS))
    assert torch.equal(trajectory[-1], clean)
    levels = trajectory.std((1, 2, 3, 4))
    assert trajectory.isfinite().all()
    assert levels[0] != levels[-1]


def test_linspace_spacing_is_refused(stack, clean) -> None:
    scheduler = DDIMScheduler(timestep_spacing="linspace")
    scheduler.set_timesteps(STEPS)
    with pytest.raises(ValueError, match="linspace is not supported"):
        invert(ConstantDenoiser(clean), clean, scheduler)
