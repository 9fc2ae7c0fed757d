"""LocRef-Diffusion: a reference image for every box (arXiv 2411.15252).

A composite of all references at their boxes and each single reference become tokens that cross-attention reads inside
the boxes.  There is no public code: this is written from the paper, and README.md marks our own choices.
"""

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

from .appearance import METHOD
from .attention import Fusion, ImageAttention
from .composite import Pair, reference_image
from .conditions import Condition, Inputs
from .network import LocRefNet, new_network, trained_network


@dataclass(frozen=True, slots=True)
class Settings:
    """The keys of `[settings.default]` in method.toml."""

    sampler: Literal["lms", "ddim", "euler"]
    steps: int
    guidance_scale: float
    negative_prompt: str
    reading: Literal["T", "P"]
    projection: Literal["trained", "fixed"]
    encoder: str
    """"trained" for the small encoder stored with the adapter's weights, else the location of a published one."""
    strength: float
    fusion: Literal["replace", "add"]
    overlap: Literal["softmax", "sum", "topmost"]
    instance_mask: bool
    branches: Literal["both", "composite", "references"]
    reference_area: Literal["whole", "box", "segment"]
    """The part of a reference with a mask that is used."""
    reference_fit: Literal["stretch", "letterbox"]
    canvas: Literal["mean", "black", "white"]
    missing_reference: Literal["refuse", "text_only"]
    weights: str
    allow_untrained: bool


class LocRef:
    """Controls a frozen stack by boxes and reference images."""

    def __init__(self, stack: Stack, network: LocRefNet, settings: Settings, *, trained: bool = True) -> None:
        self.stack = stack
        self.network = network
        self.settings = settings
        self.trained = trained
        self.notes: list[Mapping[str, str]] = []

    def applicable(self, layout: Layout, prompt: str, refs: Mapping[str, Reference]) -> str | None:  # noqa: ARG002
        """None if every instance has a reference or does not need one, else the reason."""
        missing = _without_reference(layout, refs)
        if not missing or self.settings.missing_reference == "text_only":
            return None
        return f"no reference image for instance {', '.join(map(repr, missing))}"

    def generate(
        self,
        layouts: Sequence[Layout],
        prompts: Sequence[str],
        refs: Sequence[Mapping[str, Reference]],
        *,
        seeds: Sequence[int],
    ) -> torch.Tensor:
        """Images, uint8 (B, 3, H, W), at the stack's own size; instances without a reference follow the text only."""
        stack, settings, network = self.stack, self.settings, self.network
        fusion = Fusion(settings.fusion, settings.overlap, settings.strength, settings.instance_mask, settings.branches)
        text = encode_for_guidance(stack.tokenizer, stack.text_encoder, prompts, settings.negative_prompt)
        condition = self._condition(layouts, refs)
        with ImageAttention(stack.unet, network.branches, fusion) as attention, attention.acting(condition):
            latents = denoise(
                Denoiser(stack.unet, text, settings.guidance_scale),
                initial_noise(stack, seeds),
                new_scheduler(stack, settings.sampler, settings.steps),
            )
        self.notes = [self._note(*inputs) for inputs in zip(layouts, prompts, refs, are_finite(latents), strict=True)]
        return decode(stack, latents)

    @torch.no_grad()
    def _condition(self, layouts: Sequence[Layout], refs: Sequence[Mapping[str, Reference]]) -> Condition | None:
        settings, grid, cell = self.settings, self.stack.latent_shape[1:], self.stack.pixels_per_cell
        inputs = Inputs.of(
            [self._pairs(layout, references) for layout, references in zip(layouts, refs, strict=True)],
            (grid[0] * cell, grid[1] * cell),
            grid,
            self.network.appearance.side,
            fit=settings.reference_fit,
            canvas=settings.canvas,
        )
        if not len(inputs.references):
            return None
        appearance = self.network.appearance
        return Condition.of(appearance, inputs, self.stack.device, self.stack.dtype).guided(appearance)

    def _pairs(self, layout: Layout, refs: Mapping[str, Reference]) -> list[Pair]:
        area, canvas = self.settings.reference_area, self.settings.canvas
        return [
            Pair(instance.box, reference_image(refs[instance.reference], area, canvas))
            for instance in layout.instances
            if instance.reference is not None and instance.reference in refs
        ]

    def _note(self, layout: Layout, prompt: str, refs: Mapping[str, Reference], is_finite: bool) -> dict[str, str]:
        notes: dict[str, str] = {}
        if not self.trained:
            notes["untrained"] = "the adapter's weights are random"
        if missing := _without_reference(layout, refs):
            notes["without_reference"] = ", ".join(missing)
        if truncated := count_truncated_tokens(self.stack.tokenizer, prompt):
            notes["tokens_cut"] = str(truncated)
        return notes | ({} if is_finite else {"degenerate": "latents are not finite"})


def build(stack: Stack, settings: Mapping[str, object]) -> LocRef:
    """Build LocRef on a stack.  Raises LayoutmarkError for invalid settings, or missing or incompatible weights."""
    resolved = read_settings(Settings, settings, METHOD)
    variant = (resolved.encoder, resolved.reading, resolved.projection)
    if resolved.allow_untrained and not resolved.weights:
        return LocRef(stack, new_network(stack, *variant), resolved, trained=False)
    return LocRef(stack, trained_network(stack, resolved.weights, *variant), resolved)


def _without_reference(layout: Layout, refs: Mapping[str, Reference]) -> list[str]:
    """Ids of the instances without a reference image."""
    return [i.id for i in layout.instances if i.reference is None or i.reference not in refs]
