"""iLGD: attention injection and loss guidance from boxes (Patel & Serkh, arXiv 2405.14101).

Injection raises the cross-attention logits of an object's tokens inside its box during the noisiest steps; loss
guidance adds eta * sigma times the gradient of an attention loss to the predicted noise.  The formulas are in
`layoutmark.diffusion.box_guidance`, written from the paper, not from the public code; README.md lists the evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from layoutmark.api import Layout, Reference
from layoutmark.diffusion import (
    CrossAttention,
    Denoiser,
    LocatedPhrase,
    PhraseNotFound,
    Stack,
    append_missing_phrases,
    are_finite,
    count_truncated_tokens,
    decode,
    denoise,
    encode_for_guidance,
    initial_noise,
    locate_phrases,
    new_scheduler,
    phrase_notes,
    read_settings,
)
from layoutmark.diffusion.box_guidance import Guidance, MapCollector, Targets, box_loss, inject, mean_map

__all__ = ["ILGD", "Guidance", "MapCollector", "Settings", "Targets", "box_loss", "build", "inject", "mean_map"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The keys of `[settings.default]` in method.toml; step indices count from 0, ends are exclusive."""

    sampler: Literal["lms", "ddim", "euler"]
    steps: int
    guidance_scale: float
    negative_prompt: str
    nu: float
    """Injection strength nu'."""
    eta: float
    """Guidance strength."""
    first_step: int
    inject_steps: int
    loss_steps: int
    guidance_scaling: Literal["reference", "consistent"]
    """Scale of the gradient: sigma, or sigma / sqrt(1 + sigma^2)."""
    loss_stride: int
    """The loss is computed on the latent grid divided by this."""
    min_one_cell: bool
    include_modifiers: bool
    category_fallback: bool
    append_missing: bool
    split_cfg: bool
    recompute: bool
    """Whether to use gradient checkpointing."""


class ILGD:
    """Guides a frozen stack with the boxes and phrases of a layout."""

    def __init__(self, stack: Stack, settings: Settings) -> None:
        self.stack = stack
        self.settings = settings
        self.notes: list[Mapping[str, str]] = []

    def applicable(self, layout: Layout, prompt: str, refs: Mapping[str, Reference]) -> str | None:  # noqa: ARG002
        """None if the part of the prompt that the model sees names every instance, else the reason."""
        _, located, _ = self._locate(layout, prompt)
        return next((str(item) for item in located if isinstance(item, PhraseNotFound)), None)

    def generate(
        self,
        layouts: Sequence[Layout],
        prompts: Sequence[str],
        refs: Sequence[Mapping[str, Reference]],  # noqa: ARG002
        *,
        seeds: Sequence[int],
    ) -> torch.Tensor:
        """Images uint8 (B, 3, H, W) at the stack's own size; instances that the prompt does not name are noted."""
        stack, settings = self.stack, self.settings
        requests = [self._locate(layout, prompt) for layout, prompt in zip(layouts, prompts, strict=True)]
        guided = [
            [
                (p.positions, i.box)
                for i, p in zip(layout.instances, phrases, strict=True)
                if isinstance(p, LocatedPhrase)
            ]
            for layout, (_, phrases, _) in zip(layouts, requests, strict=True)
        ]
        targets = Targets.of(guided, stack.latent_shape[1:], min_one_cell=settings.min_one_cell, device=stack.device)
        final_prompts = [prompt for prompt, _, _ in requests]
        text = encode_for_guidance(stack.tokenizer, stack.text_encoder, final_prompts, settings.negative_prompt)
        with CrossAttention(stack.unet) as attention:
            denoiser = Denoiser(stack.unet, text, settings.guidance_scale, settings.split_cfg, attention)
            latents = denoise(
                denoiser,
                initial_noise(stack, seeds),
                new_scheduler(stack, settings.sampler, settings.steps),
                predict=Guidance(attention, targets, settings).predict,
            )
        self.notes = [
            notes if is_finite else notes | {"degenerate": "latents are not finite"}
            for (_, _, notes), is_finite in zip(requests, are_finite(latents), strict=True)
        ]
        return decode(stack, latents)

    def _locate(self, layout: Layout, prompt: str) -> tuple[str, list[LocatedPhrase | PhraseNotFound], dict[str, str]]:
        """The prompt to use, the phrase of every instance, and notes."""
        tokenizer, instances = self.stack.tokenizer, layout.instances
        modifiers, fallback = self.settings.include_modifiers, self.settings.category_fallback
        options = {"include_modifiers": modifiers, "category_fallback": fallback}
        located = locate_phrases(tokenizer, prompt, instances, **options)
        notes: dict[str, str] = {}
        if self.settings.append_missing and (extended := append_missing_phrases(prompt, instances, located)) != prompt:
            notes["appended"] = extended.removeprefix(prompt)
            prompt, located = extended, locate_phrases(tokenizer, extended, instances, **options)
        notes |= phrase_notes(tokenizer, prompt, instances, located)
        if truncated := count_truncated_tokens(tokenizer, prompt):
            notes["tokens_cut"] = str(truncated)
        return prompt, located, notes


def build(stack: Stack, settings: Mapping[str, object]) -> ILGD:
    """Build iLGD on a stack.  Raises LayoutmarkError for unknown, missing or mistyped settings."""
    return ILGD(stack, read_settings(Settings, settings, "ilgd"))
