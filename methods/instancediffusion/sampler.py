"""The sampler of InstanceDiffusion: PLMS with fading grounding and the Multi-instance Sampler.

The Multi-instance Sampler takes the first steps once for the full layout and once for each instance alone, then
continues from the mean of all latents (arXiv 2402.03290).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from diffusers import PNDMScheduler

from layoutmark.errors import LayoutmarkError

from .network import Network

TRAINED_STEPS = 1000
SCHEDULE: Mapping[str, object] = MappingProxyType(
    {
        "num_train_timesteps": TRAINED_STEPS,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "trained_betas": None,
    }
)
"""Noise schedule used in training, that of Stable Diffusion."""


@dataclass(frozen=True, eq=False)
class Condition:
    """Conditioning of one network evaluation for one image (B = 1)."""

    context: torch.Tensor
    """Text encoder states (1, n, D)."""
    tokens: torch.Tensor
    """Instance tokens (1, 184, D)."""
    allowed: torch.Tensor | None = None
    """Allowed pairs for masked attention, bool (1, N, N), or None."""


@dataclass(eq=False)
class Branch:
    """One trajectory: its condition, its latents (1, C, h, w), and a scheduler with its own history."""

    condition: Condition
    latents: torch.Tensor
    scheduler: Any
    noise: torch.Tensor | None = field(default=None, init=False)
    """Guided noise of the last step's first evaluation."""


def new_plms(steps: int) -> Any:
    """Scheduler for Stable Diffusion's PLMS.  `steps` logical steps need steps + 1 calls, since the first takes two.

    Raises LayoutmarkError unless `steps` divides 1000; otherwise the public code would take more steps than requested.
    """
    if steps < 2 or TRAINED_STEPS % steps:
        raise LayoutmarkError(
            "steps of instancediffusion", found=str(steps), expected="a divisor of 1000, at least 2",
            do="Use 20, 25 or 50.",
        )  # fmt: skip
    scheduler = PNDMScheduler(**SCHEDULE, skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False)
    scheduler.set_timesteps(steps)
    return scheduler


def alpha_schedule(steps: int, shares: tuple[float, float, float]) -> tuple[float, ...]:
    """Strength of the grounding in each logical step: 1, then falling linearly to 0, then 0.

    `shares` of the steps, in that order, must add up to exactly 1.  The first two are rounded down in floating point:
    0.58 of 50 steps is 28.  Raises LayoutmarkError otherwise.
    """
    if min(shares) < 0 or sum(shares) != 1:
        raise LayoutmarkError(
            "alpha of instancediffusion", found=str(tuple(shares)), expected="three shares that add up to 1",
            do="Write the last share as 1 minus the others.",
        )  # fmt: skip
    full, falling = math.floor(shares[0] * steps), math.floor(shares[1] * steps)
    slope = [(falling - 1 - index) / falling for index in range(falling)]
    return (*[1.0] * full, *slope, *[0.0] * (steps - full - falling))


def shared_steps(steps: int, share: float) -> int:
    """Number of logical steps that the Multi-instance Sampler takes branch by branch, rounded down.

    Raises LayoutmarkError unless the share lies in [0, 1).
    """
    if not 0 <= share < 1:
        raise LayoutmarkError(
            "mis of instancediffusion", found=str(share), expected="a share of the steps in [0, 1)",
            do="The authors advise less than 0.4.",
        )  # fmt: skip
    return math.floor(steps * share)


def merge(branches: Sequence[Branch]) -> Branch:
    """The first branch, with its condition and history, moved to the mean of all branches' latents."""
    merged = branches[0]
    if len(branches) > 1:
        merged.latents = torch.cat([branch.latents for branch in branches]).mean(0, keepdim=True)
    return merged


@torch.no_grad()
def sample(
    network: Network,
    noise: torch.Tensor,
    conditions: Sequence[Sequence[Condition]],
    unconditional: Condition,
    *,
    steps: int,
    guidance_scale: float,
    alphas: Sequence[float],
    mis: float,
    at_once: int = 8,
    on_step: Callable[[int, Sequence[Branch]], None] | None = None,
) -> torch.Tensor:
    """Denoise unit noise (B, C, h, w) to clean latents of the same shape.

    Args:
        network: the noise predictor.
        noise: shared by all branches of an image.
        conditions: per image, the condition of the full layout, then one per instance, alone in slot 0 with its phrase
            as the prompt.
        unconditional: negative prompt and null tokens.  Grounding stays on in that half, but without instances.
        steps: logical steps, a divisor of 1000.
        guidance_scale: eps_u + guidance_scale * (eps_c - eps_u).
        alphas: grounding strength in each step, from `alpha_schedule`.
        mis: share of the steps taken branch by branch; 0 disables the Multi-instance Sampler.
        at_once: branches evaluated together, two network rows each.
        on_step: called after each step with its index and the branches, before they are merged.

    Raises LayoutmarkError if `steps` does not divide 1000, `mis` is not in [0, 1), or conditions are missing.
    """
    if len(alphas) != steps:
        raise LayoutmarkError(
            "alpha of instancediffusion", found=f"{len(alphas)} values", expected=f"one for each of {steps} steps",
            do="Use alpha_schedule.",
        )  # fmt: skip
    if len(conditions) != len(noise) or not all(conditions):
        empty = "" if all(conditions) else ", one of them empty"
        raise LayoutmarkError(
            "conditions of instancediffusion", found=f"{len(conditions)} for {len(noise)} images{empty}",
            expected="at least one per image", do="Pass the condition of the full layout first for each image.",
        )  # fmt: skip
    branch_steps = shared_steps(steps, mis)
    groups = [
        [Branch(c, noise[image : image + 1], new_plms(steps)) for c in (per_branch if branch_steps else per_branch[:1])]
        for image, per_branch in enumerate(conditions)
    ]
    for step in range(steps):
        branches = [branch for group in groups for branch in group]
        for start in range(0, len(branches), at_once):
            _advance(network, branches[start : start + at_once], unconditional, step, guidance_scale, alphas[step])
        if on_step is not None:
            on_step(step, branches)
        if step + 1 == branch_steps:
            groups = [[merge(group)] for group in groups]
    return torch.cat([group[0].latents for group in groups])


def _advance(
    network: Network,
    branches: Sequence[Branch],
    unconditional: Condition,
    step: int,
    guidance_scale: float,
    alpha: float,
) -> None:
    """Advance all branches by one logical step; the first step evaluates twice (pseudo improved Euler)."""
    for call in (0, 1) if step == 0 else (step + 1,):
        timestep = branches[0].scheduler.timesteps[call]
        latents = torch.cat([branch.latents for branch in branches])
        guided = _guided(network, latents, timestep, branches, unconditional, guidance_scale, alpha)
        for branch, predicted in zip(branches, guided.split(1), strict=True):
            if call != 1:
                branch.noise = predicted
            branch.latents = branch.scheduler.step(predicted, timestep, branch.latents, return_dict=False)[0]


def _guided(
    network: Network,
    latents: torch.Tensor,
    timestep: torch.Tensor,
    branches: Sequence[Branch],
    unconditional: Condition,
    guidance_scale: float,
    alpha: float,
) -> torch.Tensor:
    conditional = [branch.condition for branch in branches]
    rows = [unconditional] * len(conditional) + conditional
    noise = network(
        torch.cat([latents, latents]),
        timestep.to(latents.device),
        torch.cat([row.context for row in rows]),
        torch.cat([row.tokens for row in rows]),
        alpha=alpha,
        allowed=_concatenate_masks([row.allowed for row in rows]),
    )
    unconditional_noise, conditional_noise = noise.chunk(2)
    return unconditional_noise + guidance_scale * (conditional_noise - unconditional_noise)


def _concatenate_masks(masks: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    """Masks of all rows in one tensor, unrestricted where a row has none; None if no row has a mask."""
    template = next((mask for mask in masks if mask is not None), None)
    if template is None:
        return None
    return torch.cat([torch.ones_like(template) if mask is None else mask for mask in masks])
