"""Box guidance of cross-attention: logits lifted inside the boxes, and the gradient of an attention loss.

The mathematics of iLGD (Patel & Serkh, arXiv 2405.14101): injection adds nu_t inside an object's box to the logits of
its tokens; loss guidance adds eta * sigma times the gradient of an attention loss to the predicted noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F

from layoutmark.diffusion.attention import CrossAttention, Layer, LogitEdit, recomputing
from layoutmark.diffusion.determinism import repeatable
from layoutmark.diffusion.regions import box_region, on_layer
from layoutmark.diffusion.sampling import Step
from layoutmark.layout import Box


class Strengths(Protocol):
    """How hard and when; step indices count from 0, ends are exclusive.  Settings of a method fit as they are."""

    @property
    def nu(self) -> float:
        """Injection strength nu'."""

    @property
    def eta(self) -> float:
        """Guidance strength."""

    @property
    def first_step(self) -> int:
        """First step that is injected or guided."""

    @property
    def inject_steps(self) -> int:
        """End of the injected steps."""

    @property
    def loss_steps(self) -> int:
        """End of the guided steps."""

    @property
    def guidance_scaling(self) -> str:
        """Factor of the gradient: `reference` is sigma, `consistent` is sigma / sqrt(1 + sigma^2)."""

    @property
    def loss_stride(self) -> int:
        """The loss lives on the latent grid divided by this."""

    @property
    def recompute(self) -> bool:
        """Gradient checkpointing."""


@dataclass(frozen=True, eq=False)
class Targets:
    """What a batch wants: P pairs (image, token position), each unique, with the region and the weight in the loss.

    `boxes[p]` lists the regions of pair p, bool (h, w) on the latent grid, one a box; `regions` unites them.
    """

    images: torch.Tensor
    positions: torch.Tensor
    weights: torch.Tensor
    boxes: Sequence[Sequence[torch.Tensor]]
    min_one_cell: bool = False
    _layers: dict[int, torch.Tensor] = field(default_factory=dict, init=False)

    @classmethod
    def of(
        cls,
        found: Sequence[Sequence[tuple[Sequence[int], Box]]],
        grid: tuple[int, int],
        *,
        min_one_cell: bool = False,
        device: torch.device | str = "cpu",
    ) -> Targets:
        """Gather per image the (positions, box) pairs of its instances.

        A position that several boxes share gets their union once.  An instance has weight 1, spread over its positions.
        """
        boxes: dict[tuple[int, int], list[torch.Tensor]] = {}
        weights: dict[tuple[int, int], float] = {}
        for image, pairs in enumerate(found):
            for positions, box in pairs:
                region = box_region(box, *grid).to(device)
                for position in positions:
                    key = (image, position)
                    boxes.setdefault(key, []).append(region)
                    weights[key] = max(weights.get(key, 0.0), 1 / len(positions))
        keys = sorted(boxes)
        return cls(
            torch.tensor([image for image, _ in keys], dtype=torch.long, device=device),
            torch.tensor([position for _, position in keys], dtype=torch.long, device=device),
            torch.tensor([weights[key] for key in keys], device=device),
            [boxes[key] for key in keys],
            min_one_cell,
        )

    def regions(self, stride: int) -> torch.Tensor:
        """Union of each pair's boxes on the grid of that stride, bool (P, h, w)."""
        if stride not in self._layers:
            # Each box by itself first, so that `min_one_cell` holds for every box of a shared word.
            stacked = [torch.stack(list(boxes)) for boxes in self.boxes]
            united = [on_layer(regions, stride, min_one_cell=self.min_one_cell).any(0) for regions in stacked]
            self._layers[stride] = torch.stack(united)
        return self._layers[stride]


def inject(logits: torch.Tensor, layer: Layer, targets: Targets, nu: float, sigma: float) -> torch.Tensor:
    """Conditional logits Q K^T (B, heads, n, tokens) with nu_t added inside the boxes.

    nu_t = nu * log(1 + sigma) * max(0, largest logit of the token over heads and places), per image and token.
    """
    columns = logits[targets.images, :, :, targets.positions]
    strength = nu * math.log1p(sigma) * columns.amax((1, 2)).clamp(min=0)
    regions = targets.regions(layer.stride).flatten(1).to(logits.dtype)
    raised = logits.clone()
    raised[targets.images, :, :, targets.positions] = columns + (strength[:, None] * regions)[:, None, :]
    return raised


class Maps:
    """Collects the target tokens' probability maps of one pass, resized to the loss grid."""

    def __init__(self, targets: Targets, stride: int, grid: tuple[int, int]) -> None:
        self.targets = targets
        self.size = (-(-grid[0] // stride), -(-grid[1] // stride))
        self.collected: list[torch.Tensor] = []
        self.open = True

    def read(self, probabilities: torch.Tensor, layer: Layer) -> None:
        """Take (B, heads, n, tokens) of one layer."""
        columns = probabilities[self.targets.images, :, :, self.targets.positions]
        maps = columns.reshape(*columns.shape[:2], layer.height, layer.width)
        resized = F.interpolate(maps, self.size, mode="bilinear", align_corners=False)
        # A recomputing backward pass must repeat the very operations above, but its maps are not wanted.
        if self.open:
            self.collected.append(resized)

    def close(self) -> torch.Tensor:
        """All maps (P, layers * heads, h, w); what a recomputing backward pass shows later is ignored."""
        self.open = False
        return torch.cat(self.collected, 1)


def mean_map(maps: torch.Tensor) -> torch.Tensor:
    """Weighted mean over the J maps (P, J, h, w): the weights are a softmax of each map's own mean."""
    return (maps.mean((2, 3)).softmax(1)[:, :, None, None] * maps).sum(1)


def box_loss(mean_maps: torch.Tensor, regions: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum over pairs of weight * (mass outside the box - mass inside): maps and regions (P, h, w) to a scalar."""
    sign = 1 - 2 * regions.to(mean_maps.dtype)
    return ((mean_maps * sign).sum((1, 2)) * weights.to(mean_maps.dtype)).sum()


class Guidance:
    """The noise predictor for one batch: plain guided noise outside the injected and guided steps."""

    def __init__(self, attention: CrossAttention, targets: Targets, settings: Strengths) -> None:
        self.attention = attention
        self.targets = targets
        self.settings = settings

    def injects(self, step: Step) -> bool:
        """Whether this step raises logits."""
        due = self.settings.first_step <= step.index < self.settings.inject_steps
        return due and self.settings.nu != 0 and len(self.targets.boxes) > 0

    def guides(self, step: Step) -> bool:
        """Whether this step adds the gradient."""
        due = self.settings.first_step <= step.index < self.settings.loss_steps
        return due and self.settings.eta != 0 and len(self.targets.boxes) > 0

    def predict(self, step: Step) -> torch.Tensor:
        """Noise for the scheduler, (B, C, h, w)."""
        if not self.guides(step):
            with self.attention.acting(edit=self._edit(step)):
                return step.noise()
        noise, gradient, _ = self.noise_and_gradient(step)
        return noise + self.factor(step.sigma) * gradient

    def factor(self, sigma: float) -> float:
        """Factor of the gradient: eta * sigma, or eta * sqrt(1 - abar), which keeps to one convention."""
        scale = sigma if self.settings.guidance_scaling == "reference" else sigma / math.sqrt(1 + sigma**2)
        return self.settings.eta * scale

    def noise_and_gradient(self, step: Step) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Guided noise, the gradient of the loss by the scaled model input (both B, C, h, w), and the loss."""
        model_input = step.model_input.detach().requires_grad_(True)
        maps = Maps(self.targets, self.settings.loss_stride, (model_input.shape[-2], model_input.shape[-1]))
        with (
            torch.enable_grad(),
            repeatable(model_input.device),
            recomputing(self.attention.unet, self.settings.recompute),
            self.attention.acting(edit=self._edit(step), read=maps.read),
        ):
            noise = step.noise(model_input)
            regions = self.targets.regions(self.settings.loss_stride)
            loss = box_loss(mean_map(maps.close()), regions, self.targets.weights)
            (gradient,) = torch.autograd.grad(loss, model_input)
        return noise.detach(), gradient, loss.detach()

    def _edit(self, step: Step) -> LogitEdit | None:
        if not self.injects(step):
            return None
        return lambda logits, layer: inject(logits, layer, self.targets, self.settings.nu, step.sigma)
