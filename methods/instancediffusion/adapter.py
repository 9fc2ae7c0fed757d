"""InstanceDiffusion: a phrase and a location for every instance (Wang et al., CVPR 2024, arXiv 2402.03290).

Instances become tokens that image features attend to through trained gates; the first steps are also sampled once for
each instance alone.  Written from the paper and from facts about the public code; README.md lists the evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from layoutmark.api import Layout, Reference
from layoutmark.diffusion import Stack, are_finite, count_truncated_tokens, decode, encode, initial_noise, read_settings
from layoutmark.errors import LayoutmarkError

from .dataprep import grounding
from .network import Network, masked_pairs
from .position_net import SLOTS, Formats, Grounding
from .sampler import SCHEDULE, Condition, alpha_schedule, new_plms, sample, shared_steps
from .trained import METHOD, new_network, trained_network


@dataclass(frozen=True, slots=True)
class Settings:
    """The keys of `[settings.default]` in method.toml."""

    steps: int
    """Logical PLMS steps, a divisor of 1000; the network is called once more than that."""
    guidance_scale: float
    negative_prompt: str
    formats: Literal["box", "mask", "point", "scribble"]
    """Published test configuration: the parts of an instance that the network reads."""
    alpha: float
    """Share of the steps with full-strength grounding."""
    alpha_falling: float
    """Share of the following steps in which the strength falls to 0."""
    mis: float
    """Share of the steps that are also taken for each instance alone."""
    masked_attention: Literal["off", "released", "corrected"]
    branches_at_once: int
    cut_instances: bool
    """Use only the first 30 instances of a layout that has more."""
    weights: str
    allow_untrained: bool

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares of the steps with full, falling and no grounding."""
        return self.alpha, self.alpha_falling, 1 - self.alpha - self.alpha_falling


class InstanceDiffusion:
    """Generates images from layouts with the network of one stack."""

    def __init__(self, stack: Stack, network: Network, settings: Settings, *, trained: bool = True) -> None:
        self.stack = stack
        self.network = network
        self.settings = settings
        self.trained = trained
        self.notes: list[Mapping[str, str]] = []

    def applicable(self, layout: Layout, prompt: str, refs: Mapping[str, Reference]) -> str | None:  # noqa: ARG002
        """None if every instance fits a slot and provides what the chosen formats read, else the reason."""
        if len(layout.instances) > SLOTS and not self.settings.cut_instances:
            return f"{len(layout.instances)} instances, and the network has {SLOTS} slots"
        for instance in layout.instances[:SLOTS]:
            if self.settings.formats == "mask" and instance.mask is None:
                return f"instance {instance.id!r} has no mask"
            if self.settings.formats == "scribble" and instance.mask is None and not instance.scribble:
                return f"instance {instance.id!r} has neither scribble nor mask"
        return None

    @torch.no_grad()
    def generate(
        self,
        layouts: Sequence[Layout],
        prompts: Sequence[str],
        refs: Sequence[Mapping[str, Reference]],  # noqa: ARG002
        *,
        seeds: Sequence[int],
    ) -> torch.Tensor:
        """Images, uint8 (B, 3, H, W), at the stack's own size."""
        settings = self.settings
        latents = sample(
            self.network,
            initial_noise(self.stack, seeds),
            [self._conditions(*request) for request in zip(layouts, prompts, seeds, strict=True)],
            Condition(self._context(settings.negative_prompt), self.network.null_tokens(1)),
            steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            alphas=alpha_schedule(settings.steps, settings.shares),
            mis=settings.mis,
            at_once=settings.branches_at_once,
        )
        is_finite = are_finite(latents)
        self.notes = [self._notes(*image) for image in zip(layouts, prompts, is_finite, strict=True)]
        return decode(self.stack, latents)

    def _conditions(self, layout: Layout, prompt: str, seed: int) -> list[Condition]:
        """The condition of the full layout, followed by one per instance alone."""
        phrases = [instance.phrase for instance in layout.instances[:SLOTS]]
        grounded = self.ground(layout, phrases, seed)
        singles = [grounded.alone(0, slot) for slot in range(len(phrases))] if self.settings.mis else []
        return [self._condition(g, text) for g, text in zip([grounded, *singles], [prompt, *phrases], strict=False)]

    def ground(self, layout: Layout, phrases: Sequence[str], seed: int) -> Grounding:
        """Grounding (B = 1) on the stack's device; a layout without instances has only empty slots."""
        width, device = self.network.position_net.config.text_width, self.stack.device
        if not phrases:
            return Grounding.empty(1, width, device)
        pooled = pooled_states(self.stack, phrases).cpu()
        # A RandomState takes 32 bits.
        return grounding(layout, pooled, seed % 2**32, self.network.position_net.config.mask_size).to(device)

    def _condition(self, grounded: Grounding, text: str) -> Condition:
        tokens = self.network.tokens(grounded, Formats.named(self.settings.formats))
        side = self.stack.latent_shape[-1]
        allowed = masked_pairs(grounded, self.settings.formats, side, self.settings.masked_attention)
        return Condition(self._context(text), tokens, allowed)

    def _context(self, text: str) -> torch.Tensor:
        return encode(self.stack.tokenizer, self.stack.text_encoder, [text])

    def _notes(self, layout: Layout, prompt: str, is_finite: bool) -> Mapping[str, str]:
        notes = {}
        if not is_finite:
            notes["degenerate"] = "latents are not finite"
        if not self.trained:
            notes["untrained"] = "random weights"
        if len(layout.instances) > SLOTS:
            notes["cut_instances"] = str(len(layout.instances) - SLOTS)
        if truncated := count_truncated_tokens(self.stack.tokenizer, prompt):
            notes["tokens_cut"] = str(truncated)
        phrases = [instance.phrase for instance in layout.instances[:SLOTS]]
        if truncated := sum(count_truncated_tokens(self.stack.tokenizer, phrase) for phrase in phrases):
            notes["phrase_tokens_cut"] = str(truncated)
        return notes


@torch.no_grad()
def pooled_states(stack: Stack, phrases: Sequence[str]) -> torch.Tensor:
    """Text encoder states at the end token of each phrase, shape (n, D), neither projected nor normalised."""
    batch = stack.tokenizer(list(phrases), padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    pooled: torch.Tensor = stack.text_encoder(batch["input_ids"].to(stack.device)).pooler_output
    return pooled


def build(stack: Stack, settings: Mapping[str, object]) -> InstanceDiffusion:
    """Build InstanceDiffusion on a stack.

    Raises LayoutmarkError for invalid settings, missing or incompatible weights, or a different noise schedule.
    """
    resolved = read_settings(Settings, settings, METHOD)
    _check_settings(resolved)
    _check_schedule(stack)
    if resolved.allow_untrained and not resolved.weights:
        return InstanceDiffusion(stack, new_network(stack), resolved, trained=False)
    return InstanceDiffusion(stack, trained_network(stack, resolved.weights, Path(__file__).parent), resolved)


def _check_settings(settings: Settings) -> None:
    """Raise now what would otherwise fail for every image."""
    new_plms(settings.steps)
    alpha_schedule(settings.steps, settings.shares)
    shared_steps(settings.steps, settings.mis)
    if settings.branches_at_once < 1:
        raise LayoutmarkError(
            f"{METHOD}: setting 'branches_at_once'", found=str(settings.branches_at_once), expected="at least 1",
            do="Use 8.",
        )  # fmt: skip


def _check_schedule(stack: Stack) -> None:
    """The method has its own sampler: on a stack trained with another schedule it would generate noise."""
    for name, expected in SCHEDULE.items():
        if (actual := stack.scheduler_config.get(name, expected)) != expected:
            raise LayoutmarkError(
                f"noise schedule of the stack, {name}, for {METHOD}", found=str(actual), expected=str(expected),
                do="Use a stack with the noise schedule of Stable Diffusion 1.",
            )  # fmt: skip
