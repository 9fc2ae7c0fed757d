"""Box guidance of cross-attention: injection into the logits, and the gradient of an attention loss.

The formulas of iLGD (Patel & Serkh, arXiv 2405.14101): injection adds nu_t to the logits of an object's tokens inside
its box; loss guidance adds eta * sigma times the gradient of an attention loss to the predicted noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F

from layoutmark.diffusion.attention import CrossAttention, Layer, LogitEdit, gradient_checkpointing
from layoutmark.diffusion.determinism import deterministic_algorithms
from layoutmark.diffusion.regions import box_region, downsample_region
from layoutmark.diffusion.sampling import Step
from layoutmark.layout import Box


class GuidanceSettings(Protocol):
    """Strengths and steps of the guidance.  Step indices count from 0, ends are exclusive."""

    @property
    def nu(self) -> float:
        """Injection strength nu'."""

    @property
    def eta(self) -> float:
        """Guidance strength."""

    @property
    def first_step(self) -> int:
        """First step with injection or loss guidance."""

    @property
    def inject_steps(self) -> int:
        """End of the steps with injection."""

    @property
    def loss_steps(self) -> int:
        """End of the steps with loss guidance."""

    @property
    def guidance_scaling(self) -> str:
        """Scale of the gradient: `reference` is sigma, `consistent` is sigma / sqrt(1 + sigma^2)."""

    @property
    def loss_stride(self) -> int:
        """The loss is computed on the latent grid divided by this."""

    @property
    def recompute(self) -> bool:
        """Whether to use gradient checkpointing."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Regions that tokens should attend to: P unique pairs (image index, token position) with their loss weights.

    `images`, `positions` and `weights` have shape (P,).  `box_regions[p]` has one bool (h, w) tensor on the latent grid
    per box of pair p; `regions` gives their union.
    """

    images: torch.Tensor
    positions: torch.Tensor
    weights: torch.Tensor
    box_regions: Sequence[Sequence[torch.Tensor]]
    min_one_cell: bool = False
    _regions_by_stride: dict[int, torch.Tensor] = field(default_factory=dict, init=False)

    @classmethod
    def of(
        cls,
        instances: Sequence[Sequence[tuple[Sequence[int], Box]]],
        grid: tuple[int, int],
        *,
        min_one_cell: bool = False,
        device: torch.device | str = "cpu",
    ) -> Targets:
        """Targets from the (token positions, box) pairs of each image's instances.

        A position shared by several boxes appears once, with their union.  An instance has weight 1, spread evenly over
        its positions.
        """
        regions: dict[tuple[int, int], list[torch.Tensor]] = {}
        weights: dict[tuple[int, int], float] = {}
        for image, pairs in enumerate(instances):
            for positions, box in pairs:
                region = box_region(box, *grid).to(device)
                for position in positions:
                    key = (image, position)
                    regions.setdefault(key, []).append(region)
                    weights[key] = max(weights.get(key, 0.0), 1 / len(positions))
        keys = sorted(regions)
        return cls(
            torch.tensor([image for image, _ in keys], dtype=torch.long, device=device),
            torch.tensor([position for _, position in keys], dtype=torch.long, device=device),
            torch.tensor([weights[key] for key in keys], device=device),
            [regions[key] for key in keys],
            min_one_cell,
        )

    def regions(self, stride: int) -> torch.Tensor:
        """Union of each pair's boxes on the latent grid divided by `stride`, bool (P, h, w)."""
        if stride not in self._regions_by_stride:
            # Downsample before uniting, so that `min_one_cell` holds for every box of a shared word.
            stacked = [torch.stack(list(boxes)) for boxes in self.box_regions]
            united = [downsample_region(regions, stride, min_one_cell=self.min_one_cell).any(0) for regions in stacked]
            self._regions_by_stride[stride] = torch.stack(united)
        return self._regions_by_stride[stride]


def inject(logits: torch.Tensor, layer: Layer, targets: Targets, nu: float, sigma: float) -> torch.Tensor:
    """Add nu_t to the conditional logits Q K^T, (B, heads, n, tokens), inside the boxes.

    nu_t = nu * log(1 + sigma) * max(0, largest logit of the token over heads and cells), per image and token.
    """
    columns = logits[targets.images, :, :, targets.positions]
    strength = nu * math.log1p(sigma) * columns.amax((1, 2)).clamp(min=0)
    regions = targets.regions(layer.stride).flatten(1).to(logits.dtype)
    raised = logits.clone()
    raised[targets.images, :, :, targets.positions] = columns + (strength[:, None] * regions)[:, None, :]
    return raised


class MapCollector:
    """Collects the probability maps of the target tokens in one forward pass, resized to the loss grid."""

    def __init__(self, targets: Targets, stride: int, grid: tuple[int, int]) -> None:
        self.targets = targets
        self.size = (-(-grid[0] // stride), -(-grid[1] // stride))
        self.collected: list[torch.Tensor] = []
        self.is_open = True

    def read(self, probabilities: torch.Tensor, layer: Layer) -> None:
        """Collect the maps of one layer from its probabilities (B, heads, n, tokens)."""
        columns = probabilities[self.targets.images, :, :, self.targets.positions]
        maps = columns.reshape(*columns.shape[:2], layer.height, layer.width)
        resized = F.interpolate(maps, self.size, mode="bilinear", align_corners=False)
        # With gradient checkpointing the backward pass repeats the operations above; its maps are not collected.
        if self.is_open:
            self.collected.append(resized)

    def finish(self) -> torch.Tensor:
        """All maps, (P, layers * heads, h, w).  Maps read later, by a recomputing backward pass, are ignored."""
        self.is_open = False
        return torch.cat(self.collected, 1)


def mean_map(maps: torch.Tensor) -> torch.Tensor:
    """Weighted mean over J maps, (P, J, h, w) to (P, h, w); the weights are a softmax over the maps' own means."""
    return (maps.mean((2, 3)).softmax(1)[:, :, None, None] * maps).sum(1)


def box_loss(mean_maps: torch.Tensor, regions: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum over pairs of weight * (mass outside the box - mass inside).

    Takes mean maps and regions (P, h, w) and weights (P,); returns a scalar.
    """
    sign = 1 - 2 * regions.to(mean_maps.dtype)
    return ((mean_maps * sign).sum((1, 2)) * weights.to(mean_maps.dtype)).sum()


class Guidance:
    """Noise predictor for one batch: injection and loss guidance in their steps, plain guided noise in all others."""

    def __init__(self, attention: CrossAttention, targets: Targets, settings: GuidanceSettings) -> None:
        self.attention = attention
        self.targets = targets
        self.settings = settings

    def is_injected(self, step: Step) -> bool:
        """Whether logits are raised in this step."""
        in_window = self.settings.first_step <= step.index < self.settings.inject_steps
        return in_window and self.settings.nu != 0 and len(self.targets.box_regions) > 0

    def is_guided(self, step: Step) -> bool:
        """Whether this step adds the gradient."""
        in_window = self.settings.first_step <= step.index < self.settings.loss_steps
        return in_window and self.settings.eta != 0 and len(self.targets.box_regions) > 0

    def predict(self, step: Step) -> torch.Tensor:
        """Noise for the scheduler, (B, C, h, w)."""
        if not self.is_guided(step):
            with self.attention.using(edit=self._edit(step)):
                return step.noise()
        noise, gradient, _ = self.noise_and_gradient(step)
        return noise + self.gradient_factor(step.sigma) * gradient

    def gradient_factor(self, sigma: float) -> float:
        """Scale of the gradient: eta * sigma, or eta * sqrt(1 - abar) with `guidance_scaling = "consistent"`."""
        scale = sigma if self.settings.guidance_scaling == "reference" else sigma / math.sqrt(1 + sigma**2)
        return self.settings.eta * scale

    def noise_and_gradient(self, step: Step) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Guided noise, gradient of the loss with respect to the model input (both (B, C, h, w)), and the loss."""
        model_input = step.model_input.detach().requires_grad_(True)
        maps = MapCollector(self.targets, self.settings.loss_stride, (model_input.shape[-2], model_input.shape[-1]))
        with (
            torch.enable_grad(),
            deterministic_algorithms(model_input.device),
            gradient_checkpointing(self.attention.unet, self.settings.recompute),
            self.attention.using(edit=self._edit(step), read=maps.read),
        ):
            noise = step.noise(model_input)
            regions = self.targets.regions(self.settings.loss_stride)
            loss = box_loss(mean_map(maps.finish()), regions, self.targets.weights)
            (gradient,) = torch.autograd.grad(loss, model_input)
        return noise.detach(), gradient, loss.detach()

    def _edit(self, step: Step) -> LogitEdit | None:
        if not self.is_injected(step):
            return None
        return lambda logits, layer: inject(logits, layer, self.targets, self.settings.nu, step.sigma)
