"""iLGD: attention injection and loss guidance from boxes (Patel & Serkh, arXiv 2405.14101).

Injection lifts the cross-attention logits of an object's tokens inside its box during the noisiest steps; loss
guidance adds eta * sigma times the gradient of an attention loss to the predicted noise.  The mathematics stands in
`layoutmark.diffusion.box_guidance`, written from the formulas, not from the public code; README.md says what is proven.
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
    Located,
    PhraseNotFound,
    Stack,
    decode,
    denoise,
    encode_for_guidance,
    finite,
    initial_noise,
    locate,
    locating_notes,
    new_scheduler,
    read_settings,
    tokens_cut,
    with_missing,
)
from layoutmark.diffusion.box_guidance import Guidance, Maps, Targets, box_loss, inject, mean_map

__all__ = ["ILGD", "Guidance", "Maps", "Settings", "Targets", "box_loss", "build", "inject", "mean_map"]


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
    """Factor of the gradient: sigma, or sigma / sqrt(1 + sigma^2)."""
    loss_stride: int
    """The loss lives on the latent grid divided by this."""
    min_one_cell: bool
    include_modifiers: bool
    category_fallback: bool
    append_missing: bool
    split_cfg: bool
    recompute: bool
    """Gradient checkpointing."""


class ILGD:
    """Boxes and phrases of a layout steer a frozen stack."""

    def __init__(self, stack: Stack, settings: Settings) -> None:
        self.stack = stack
        self.settings = settings
        self.notes: list[Mapping[str, str]] = []

    def applicable(self, layout: Layout, prompt: str, refs: Mapping[str, Reference]) -> str | None:  # noqa: ARG002
        """None if the prompt names every instance within the tokens that the model sees."""
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
        """Images uint8 (B, 3, H, W) at the stack's own size; instances the prompt does not name are noted."""
        stack, settings = self.stack, self.settings
        places = [self._locate(layout, prompt) for layout, prompt in zip(layouts, prompts, strict=True)]
        found = [
            [(m.positions, i.box) for i, m in zip(layout.instances, located, strict=True) if isinstance(m, Located)]
            for layout, (_, located, _) in zip(layouts, places, strict=True)
        ]
        targets = Targets.of(found, stack.latent_shape[1:], min_one_cell=settings.min_one_cell, device=stack.device)
        worded = [prompt for prompt, _, _ in places]
        text = encode_for_guidance(stack.tokenizer, stack.text_encoder, worded, settings.negative_prompt)
        with CrossAttention(stack.unet) as attention:
            denoiser = Denoiser(stack.unet, text, settings.guidance_scale, settings.split_cfg, attention)
            latents = denoise(
                denoiser,
                initial_noise(stack, seeds),
                new_scheduler(stack, settings.sampler, settings.steps),
                predict=Guidance(attention, targets, settings).predict,
            )
        broken = {"degenerate": "latents are not finite"}
        self.notes = [notes | ({} if ok else broken) for (_, _, notes), ok in zip(places, finite(latents), strict=True)]
        return decode(stack, latents)

    def _locate(self, layout: Layout, prompt: str) -> tuple[str, list[Located | PhraseNotFound], dict[str, str]]:
        tokenizer, instances = self.stack.tokenizer, layout.instances
        modifiers, fallback = self.settings.include_modifiers, self.settings.category_fallback
        how = {"include_modifiers": modifiers, "category_fallback": fallback}
        located = locate(tokenizer, prompt, instances, **how)
        notes: dict[str, str] = {}
        if self.settings.append_missing and (extended := with_missing(prompt, instances, located)) != prompt:
            notes["appended"] = extended.removeprefix(prompt)
            prompt, located = extended, locate(tokenizer, extended, instances, **how)
        notes |= locating_notes(tokenizer, prompt, instances, located)
        if cut := tokens_cut(tokenizer, prompt):
            notes["tokens_cut"] = str(cut)
        return prompt, located, notes


def build(stack: Stack, settings: Mapping[str, object]) -> ILGD:
    """Build iLGD on a stack.  Raises LayoutmarkError for unknown, missing or mistyped settings."""
    return ILGD(stack, read_settings(Settings, settings, "ilgd"))
