"""Layout-and-Retouch with boxes: a variant of ours, not the paper's method.

Stage 1 is guided into the boxes as iLGD does (arXiv 2405.14101), and each subject's mask stays in its box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from layoutmark.api import Box, Instance, Layout, Reference
from layoutmark.diffusion import CrossAttention, Denoiser, Stack, Text, read_settings
from layoutmark.diffusion.box_guidance import Guidance, Targets
from layoutmark.methods.layout_and_retouch.personal import Subject, Worded
from layoutmark.methods.layout_and_retouch.retoucher import Place, Retoucher, RetouchSettings
from layoutmark.methods.layout_and_retouch.retouching import layout_trajectory


@dataclass(frozen=True, slots=True)
class Settings(RetouchSettings):
    """Those of paper mode, iLGD's strengths, and how far a mask may leave its box."""

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
    """Share of the box's side; 0 confines the mask to the box itself."""


class LayoutAndRetouchBox(Retoucher):
    """Reads boxes of all instances in stage 1, and those of the subjects in stage 2."""

    variant_of = "layout_and_retouch"

    def __init__(self, stack: Stack, settings: Settings) -> None:
        super().__init__(stack, settings)
        self.boxes = settings
        self.margin = settings.box_margin

    def read(self, layout: Layout, refs: Mapping[str, Reference]) -> list[Instance]:  # noqa: ARG002
        """All instances: each has a box to keep."""
        return list(layout.instances)

    def layout_image(
        self, noise: torch.Tensor, plain: Text, personal: Text, subject: Subject, worded: Worded,
        places: Sequence[Place],
    ) -> torch.Tensor:  # fmt: skip
        """Stage 1 with injection and loss guidance, on the words of whichever prompt is in use."""
        unet, settings = self.stack.unet, self.boxes
        before = [(located.positions, instance.box) for instance, located in places]
        after = [(worded.moved(positions), box) for positions, box in before]
        with CrossAttention(unet) as attention:
            guides = [Guidance(attention, self._targets(pairs), settings) for pairs in (before, after)]
            return layout_trajectory(
                noise, self._scheduler(),
                Denoiser(unet, plain, settings.guidance_scale, attention=attention),
                Denoiser(unet, personal, settings.guidance_scale, attention=attention),
                subject, settings.step(settings.lambda_1), (guides[0].predict, guides[1].predict),
            )  # fmt: skip

    def mask_box(self, instance: Instance) -> Box | None:
        """The instance's own box."""
        return instance.box

    def deviations(self, subjects: int) -> list[str]:
        """Those of paper mode after the two that make the variant."""
        return ["boxes_in_stage1", "mask_clipped_to_box", *super().deviations(subjects)]

    def _targets(self, pairs: Sequence[tuple[Sequence[int], Box]]) -> Targets:
        grid = self.stack.latent_shape[1:]
        return Targets.of([pairs], grid, min_one_cell=self.boxes.min_one_cell, device=self.stack.device)


def build(stack: Stack, settings: Mapping[str, object]) -> LayoutAndRetouchBox:
    """Build the box variant on a stack.  Raises LayoutmarkError for unknown, missing or mistyped settings."""
    return LayoutAndRetouchBox(stack, read_settings(Settings, settings, "layout_and_retouch_box"))
