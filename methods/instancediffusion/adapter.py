"""InstanceDiffusion: a text and a place for every instance (Wang et al., CVPR 2024, arXiv 2402.03290).

Instances become tokens that the picture attends to through trained gates; the first steps are drawn once for every
instance by itself.  Written from the paper and from facts about the public code; README.md says what is proven.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from layoutmark.api import Layout, Reference
from layoutmark.diffusion import Stack, decode, encode, finite, initial_noise, read_settings, tokens_cut
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
    """Logical steps of PLMS, a divisor of 1000; the network is called once more."""
    guidance_scale: float
    negative_prompt: str
    formats: Literal["box", "mask", "point", "scribble"]
    """Published test configuration: which parts of an instance reach the network."""
    alpha: float
    """Share of the steps with grounding at full strength."""
    alpha_falling: float
    """Share of the steps, after those, in which it falls to 0."""
    mis: float
    """Share of the steps that are taken once for every instance by itself."""
    masked_attention: Literal["off", "released", "corrected"]
    branches_at_once: int
    cut_instances: bool
    """Draw the first 30 instances of a layout that has more."""
    weights: str
    allow_untrained: bool

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares of the steps with grounding in full, falling and none."""
        return self.alpha, self.alpha_falling, 1 - self.alpha - self.alpha_falling


class InstanceDiffusion:
    """Draws layouts with the network of one stack."""

    def __init__(self, stack: Stack, network: Network, settings: Settings, *, trained: bool = True) -> None:
        self.stack = stack
        self.network = network
        self.settings = settings
        self.trained = trained
        self.notes: list[Mapping[str, str]] = []

    def applicable(self, layout: Layout, prompt: str, refs: Mapping[str, Reference]) -> str | None:  # noqa: ARG002
        """None if every instance has what the chosen formats read, and a slot."""
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
        """Images uint8 (B, 3, H, W) at the stack's own size."""
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
        fine = finite(latents)
        self.notes = [self._notes(*image) for image in zip(layouts, prompts, fine, strict=True)]
        return decode(self.stack, latents)

    def _conditions(self, layout: Layout, prompt: str, seed: int) -> list[Condition]:
        """Of the whole layout, then of each instance alone."""
        phrases = [instance.phrase for instance in layout.instances[:SLOTS]]
        whole = self.ground(layout, phrases, seed)
        alone = [whole.alone(0, slot) for slot in range(len(phrases))] if self.settings.mis else []
        return [self._condition(g, text) for g, text in zip([whole, *alone], [prompt, *phrases], strict=False)]

    def ground(self, layout: Layout, phrases: Sequence[str], seed: int) -> Grounding:
        """Grounding (B = 1) on the stack's device; a layout without instances has empty slots only."""
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

    def _notes(self, layout: Layout, prompt: str, fine: bool) -> Mapping[str, str]:
        notes = {}
        if not fine:
            notes["degenerate"] = "latents are not finite"
        if not self.trained:
            notes["untrained"] = "random weights"
        if len(layout.instances) > SLOTS:
            notes["cut_instances"] = str(len(layout.instances) - SLOTS)
        if cut := tokens_cut(self.stack.tokenizer, prompt):
            notes["tokens_cut"] = str(cut)
        if cut := sum(tokens_cut(self.stack.tokenizer, instance.phrase) for instance in layout.instances[:SLOTS]):
            notes["phrase_tokens_cut"] = str(cut)
        return notes


@torch.no_grad()
def pooled_states(stack: Stack, phrases: Sequence[str]) -> torch.Tensor:
    """State of the text encoder at the end token of each phrase (n, D), neither projected nor normalised."""
    batch = stack.tokenizer(list(phrases), padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    pooled: torch.Tensor = stack.text_encoder(batch["input_ids"].to(stack.device)).pooler_output
    return pooled


def build(stack: Stack, settings: Mapping[str, object]) -> InstanceDiffusion:
    """Build InstanceDiffusion on a stack.

    Raises LayoutmarkError for bad settings, weights missing or unfit, or a stack with another noise schedule.
    """
    chosen = read_settings(Settings, settings, METHOD)
    _check(chosen)
    _check_schedule(stack)
    if chosen.allow_untrained and not chosen.weights:
        return InstanceDiffusion(stack, new_network(stack), chosen, trained=False)
    return InstanceDiffusion(stack, trained_network(stack, chosen.weights, Path(__file__).parent), chosen)


def _check(settings: Settings) -> None:
    """Say now what would otherwise fail image by image."""
    new_plms(settings.steps)
    alpha_schedule(settings.steps, settings.shares)
    shared_steps(settings.steps, settings.mis)
    if settings.branches_at_once < 1:
        raise LayoutmarkError(
            f"{METHOD}: setting 'branches_at_once'", found=str(settings.branches_at_once), expected="at least 1",
            do="Take 8.",
        )  # fmt: skip


def _check_schedule(stack: Stack) -> None:
    """Its sampler is its own: on a stack that was trained with other noise it would draw nonsense."""
    for name, expected in SCHEDULE.items():
        if (found := stack.scheduler_config.get(name, expected)) != expected:
            raise LayoutmarkError(
                f"noise schedule of the stack, {name}, for {METHOD}", found=str(found), expected=str(expected),
                do="Use a stack in the shape of Stable Diffusion 1.",
            )  # fmt: skip
