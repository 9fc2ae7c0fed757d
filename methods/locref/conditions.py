"""Image conditioning of a batch: tokens of composites and references, and the masks where each acts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F

from layoutmark.diffusion import Layer, box_region

from .appearance import AppearanceNet
from .composite import Canvas, Fit, Pair, composite, encoder_input, fit_image, painters_order


@dataclass(frozen=True, eq=False)
class Inputs:
    """Normalised images of a batch of B layouts with N references in total, at most R per layout.

    Instances are in painter's order, large boxes first.  Unused slots of a layout have empty masks.
    """

    composites: torch.Tensor
    """(B, 3, side, side)."""
    references: torch.Tensor
    """(N, 3, side, side)."""
    indices: tuple[torch.Tensor, torch.Tensor]
    """Layout index and slot index of each reference, (N,) each."""
    masks: torch.Tensor
    """Cells of each instance's box on the latent grid, bool (B, R, h, w)."""

    @classmethod
    def of(
        cls,
        layouts: Sequence[Sequence[Pair]],
        size: tuple[int, int],
        grid: tuple[int, int],
        side: int,
        *,
        fit: Fit = "stretch",
        canvas: Canvas = "mean",
    ) -> Inputs:
        """Paint composites at `size` (height, width) in pixels and resize all images to `side` pixels."""
        slots = max(map(len, layouts), default=0)
        masks = torch.zeros(len(layouts), slots, *grid, dtype=torch.bool)
        composites, references, indices = [], [], []
        for row, pairs in enumerate(layouts):
            composites.append(encoder_input(composite(pairs, *size, fit=fit, canvas=canvas), side))
            for slot, pair in enumerate(painters_order(pairs)):
                references.append(encoder_input(fit_image(pair.image, side, side, fit=fit, canvas=canvas), side))
                indices.append((row, slot))
                masks[row, slot] = box_region(pair.box, *grid)
        rows, columns = torch.tensor(indices, dtype=torch.long).reshape(-1, 2).unbind(1)
        stacked = torch.stack(references) if references else torch.zeros(0, 3, side, side)
        return cls(torch.stack(composites), stacked, (rows, columns), masks)

    def with_null_images(self, dropped: torch.Tensor) -> Inputs:
        """A copy with null images in the layouts marked in `dropped`, bool (B,); masks are kept."""
        composites, references = self.composites.clone(), self.references.clone()
        composites[dropped] = 0
        references[dropped[self.indices[0]]] = 0
        return replace(self, composites=composites, references=references)


@dataclass(frozen=True, eq=False)
class Condition:
    """Tokens for the rows of a U-Net batch, and the masks where they act."""

    composite: torch.Tensor
    """(rows, tokens, width)."""
    references: torch.Tensor
    """(rows, R, tokens, width)."""
    masks: torch.Tensor
    """Bool (rows, R, h, w) on the latent grid."""
    _layers: dict[int, torch.Tensor] = field(default_factory=dict, init=False)

    @classmethod
    def of(cls, appearance: AppearanceNet, inputs: Inputs, device: torch.device, dtype: torch.dtype) -> Condition:
        """Encode the inputs, one row per layout."""
        composites = appearance(inputs.composites.to(device, dtype), "composite")
        tokens = appearance(inputs.references.to(device, dtype), "reference")
        references = tokens.new_zeros(*inputs.masks.shape[:2], *tokens.shape[1:])
        references[inputs.indices] = tokens
        return cls(composites, references, inputs.masks.to(device))

    def guided(self, appearance: AppearanceNet) -> Condition:
        """Prepend unconditional rows: the same masks, with tokens of the null image (all zeros)."""
        null = torch.zeros(1, 3, appearance.side, appearance.side).to(self.composite)
        composite, reference = appearance(null, "composite"), appearance(null, "reference")
        return Condition(
            torch.cat([composite.expand_as(self.composite), self.composite]),
            torch.cat([reference[:, None].expand_as(self.references), self.references]),
            self.masks.repeat(2, 1, 1, 1),
        )

    def masks_on(self, layer: Layer) -> torch.Tensor:
        """Cells where each instance acts on a layer, bool (rows, R, height * width); no instance vanishes.

        A coarse cell belongs to an instance if any of its finer cells does.  The foreground is the union of all
        instances and the background is its complement; neither is resampled separately.
        """
        if layer.stride not in self._layers:
            pooled = F.max_pool2d(self.masks.float(), layer.stride, ceil_mode=True) > 0
            self._layers[layer.stride] = pooled.flatten(2)
        return self._layers[layer.stride]
