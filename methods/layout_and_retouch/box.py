"""Layout-and-Retouch with boxes: our variant, not the paper's method.

Stage 1 is guided by the boxes as in iLGD (arXiv 2405.14101), and every subject's mask is confined to its box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from layoutmark.api import Box, Instance, Layout, Reference
from layoutmark.diffusion import CrossAttention, Denoiser, Stack, TextEmbeddings, read_settings
from layoutmark.diffusion.box_guidance import Guidance, Targets

from .personal import SubjectAdapter, SubjectPrompt
from .retoucher import LocatedInstance, Retoucher, RetouchSettings
from .retouching import sample_layout


@dataclass(frozen=True, slots=True)
class Settings(RetouchSettings):
    """Settings of paper mode, of iLGD's guidance, and the margin of the boxes."""

    nu: float
    eta: float
    first_step: int
    inject_steps: int
    loss_steps: int
    guidance_scaling: Literal["reference", "consistent"]
    loss_stride: int
    min_one_cell: bool
    recompute: bool
    box_margin: float
    """Distance by which a mask may exceed its box, relative to the box's width and height."""


class LayoutAndRetouchBox(Retoucher):
    """Uses the boxes of all instances in stage 1, and those of the subjects in stage 2."""

    variant_of = "layout_and_retouch"

    def __init__(self, stack: Stack, settings: Settings) -> None:
        super().__init__(stack, settings)
        self.box_settings = settings
        self.box_margin = settings.box_margin

    def named_instances(self, layout: Layout, refs: Mapping[str, Reference]) -> list[Instance]:  # noqa: ARG002
        """All instances: each is guided into its box."""
        return list(layout.instances)

    def draw_layout(
        self, noise: torch.Tensor, plain: TextEmbeddings, personal: TextEmbeddings, adapter: SubjectAdapter,
        prompt: SubjectPrompt, located: Sequence[LocatedInstance],
    ) -> torch.Tensor:  # fmt: skip
        """Stage 1 with injection and loss guidance on the tokens of the prompt that is used in a step."""
        unet, settings = self.stack.unet, self.box_settings
        plain_pairs = [(phrase.positions, instance.box) for instance, phrase in located]
        personal_pairs = [(prompt.map_positions(positions), box) for positions, box in plain_pairs]
        with CrossAttention(unet) as attention:
            guidances = [Guidance(attention, self._targets(pairs), settings) for pairs in (plain_pairs, personal_pairs)]
            return sample_layout(
                noise, self._scheduler(),
                Denoiser(unet, plain, settings.guidance_scale, attention=attention),
                Denoiser(unet, personal, settings.guidance_scale, attention=attention),
                adapter, settings.step_at(settings.lambda_1), (guidances[0].predict, guidances[1].predict),
            )  # fmt: skip

    def mask_box(self, instance: Instance) -> Box | None:
        """The instance's own box."""
        return instance.box

    def deviations(self, subject_count: int) -> list[str]:
        """The two deviations of the variant, then those of paper mode."""
        return ["boxes_in_stage1", "mask_clipped_to_box", *super().deviations(subject_count)]

    def _targets(self, pairs: Sequence[tuple[Sequence[int], Box]]) -> Targets:
        grid = self.stack.latent_shape[1:]
        return Targets.of([pairs], grid, min_one_cell=self.box_settings.min_one_cell, device=self.stack.device)


def build(stack: Stack, settings: Mapping[str, object]) -> LayoutAndRetouchBox:
    """Build the box variant on a stack.  Raises LayoutmarkError for unknown, missing or mistyped settings."""
    return LayoutAndRetouchBox(stack, read_settings(Settings, settings, "layout_and_retouch_box"))
