"""Prompt only: classifier-free guidance and a deterministic sampler.  The baseline in every table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from layoutmark.api import Layout, Reference
from layoutmark.diffusion import (
    Denoiser,
    Stack,
    are_finite,
    count_truncated_tokens,
    decode,
    denoise,
    encode_for_guidance,
    initial_noise,
    new_scheduler,
    read_settings,
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The keys of `[settings.default]` in method.toml."""

    sampler: Literal["lms", "ddim", "euler"]
    steps: int
    guidance_scale: float
    negative_prompt: str


class Base:
    """Ignores layouts and references."""

    def __init__(self, stack: Stack, settings: Settings) -> None:
        self.stack = stack
        self.settings = settings
        self.notes: list[Mapping[str, str]] = []

    def applicable(self, layout: Layout, prompt: str, refs: Mapping[str, Reference]) -> str | None:  # noqa: ARG002
        """Always None: every prompt can be used; truncation is noted."""
        return None

    def generate(
        self,
        layouts: Sequence[Layout],  # noqa: ARG002
        prompts: Sequence[str],
        refs: Sequence[Mapping[str, Reference]],  # noqa: ARG002
        *,
        seeds: Sequence[int],
    ) -> torch.Tensor:
        """Images uint8 (B, 3, H, W) at the stack's own size."""
        stack, settings = self.stack, self.settings
        text = encode_for_guidance(stack.tokenizer, stack.text_encoder, prompts, settings.negative_prompt)
        latents = denoise(
            Denoiser(stack.unet, text, settings.guidance_scale),
            initial_noise(stack, seeds),
            new_scheduler(stack, settings.sampler, settings.steps),
        )
        self.notes = [self._notes(*pair) for pair in zip(prompts, are_finite(latents), strict=True)]
        return decode(stack, latents)

    def _notes(self, prompt: str, is_finite: bool) -> dict[str, str]:
        notes: dict[str, str] = {}
        if truncated := count_truncated_tokens(self.stack.tokenizer, prompt):
            notes["tokens_cut"] = str(truncated)
        return notes if is_finite else notes | {"degenerate": "latents are not finite"}


def build(stack: Stack, settings: Mapping[str, object]) -> Base:
    """Prompt-only generation on a stack.  Raises LayoutmarkError for unknown, missing or mistyped settings."""
    return Base(stack, read_settings(Settings, settings, "base"))
