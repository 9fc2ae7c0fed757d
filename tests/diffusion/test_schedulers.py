"""Schedulers: expected values follow from the published noise schedule (scaled linear, 0.00085 to 0.012)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from layoutmark.diffusion import new_scheduler, noise_level
from layoutmark.errors import LayoutmarkError


def test_noise_levels_of_lms_with_fifty_steps(stack) -> None:
    scheduler = new_scheduler(stack, "lms", 50)
    assert scheduler.timesteps[0] == 999
    expected = {0: 14.61, 1: 12.94, 5: 8.22, 10: 5.00, 11: 4.56, 20: 2.21, 24: 1.67, 25: 1.56, 49: 0.029}
    for index, level in expected.items():
        assert noise_level(scheduler, scheduler.timesteps[index]) == pytest.approx(level, abs=6e-3)


@pytest.mark.parametrize("name", ["lms", "euler"])
def test_the_noise_level_equals_the_schedulers_sigma(stack, name: str) -> None:
    scheduler = new_scheduler(stack, name, 20)
    levels = [noise_level(scheduler, t) for t in scheduler.timesteps]
    np.testing.assert_allclose(levels, scheduler.sigmas[:-1].numpy(), rtol=1e-6)


def test_the_noise_level_of_ddim_comes_from_alpha_bar(stack) -> None:
    scheduler = new_scheduler(stack, "ddim", 50)
    assert scheduler.timesteps[:2].tolist() == [981, 961]
    abar = scheduler.alphas_cumprod[961]
    assert noise_level(scheduler, torch.tensor(961)) == pytest.approx(float(((1 - abar) / abar).sqrt()), rel=1e-6)


def test_unknown_sampler_is_refused(stack) -> None:
    with pytest.raises(LayoutmarkError, match=r"unknown sampler: found 'dim'; .* Did you mean 'ddim'"):
        new_scheduler(stack, "dim", 10)
