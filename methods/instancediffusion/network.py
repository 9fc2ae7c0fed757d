"""The network of InstanceDiffusion: a stock gated U-Net, the position net and ScaleU (arXiv 2402.03290)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import nn

from layoutmark.errors import LayoutmarkError

from .position_net import SIZES, SLOTS, TOKENS, Formats, Grounding, PositionNet, PositionNetConfig
from .scaleu import ScaleU, backbone_channels

MASKED_GRID_SIDE = 64
"""Side of the only grid on which the public code masks attention: the latent grid, in cells."""
POINT_BOX_HALF_SIDE = 0.125
"""Half the side of the square that replaces a box around a point in masked attention, in fractions of the canvas."""


class Fuser(nn.Module):
    """Gated self-attention over pixels and instance tokens, reusing the layers of the stock module it replaces.

    The stock module supports neither a partial strength nor a mask.
    """

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.linear = stock.linear
        self.attn = stock.attn
        self.ff = stock.ff
        self.norm1 = stock.norm1
        self.norm2 = stock.norm2
        self.alpha_attn = stock.alpha_attn
        self.alpha_dense = stock.alpha_dense
        self.strength = 1.0
        self.allowed: torch.Tensor | None = None

    def forward(self, pixels: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Pixels (B, n, d) after attending to each other and the tokens (B, 184, D); `strength` scales both gates."""
        joined = self.norm1(torch.cat([pixels, self.linear(tokens)], 1))
        mask = self.allowed if self.allowed is not None and self.allowed.shape[-1] == joined.shape[1] else None
        attended = self._attend(joined, pixels.shape[1], mask)
        pixels = pixels + self.strength * self.alpha_attn.tanh() * attended
        fused: torch.Tensor = pixels + self.strength * self.alpha_dense.tanh() * self.ff(self.norm2(pixels))
        return fused

    def _attend(self, joined: torch.Tensor, pixels: int, mask: torch.Tensor | None) -> torch.Tensor:
        # The stock module would copy the 4,280 x 4,280 mask once per head, and the outputs of the tokens are
        # discarded anyway.
        def heads(projected: torch.Tensor) -> torch.Tensor:
            return projected.unflatten(-1, (self.attn.heads, -1)).transpose(1, 2)

        query = heads(self.attn.to_q(joined[:, :pixels]))
        key, value = heads(self.attn.to_k(joined)), heads(self.attn.to_v(joined))
        pixel_mask = None if mask is None else mask[:, None, :pixels]
        out: torch.Tensor = F.scaled_dot_product_attention(query, key, value, attn_mask=pixel_mask)
        attended: torch.Tensor = self.attn.to_out[0](out.transpose(1, 2).flatten(2))
        return attended


class _Passthrough(nn.Module):
    """Replaces the stock position net: tokens are computed once per image instead of in every call."""

    def forward(self, objs: torch.Tensor) -> torch.Tensor:
        return objs


class Network(nn.Module):
    """Predicts noise from latents, timestep, text and instance tokens.

    ScaleU is active in every call.  Weights are frozen; `conversion.network_weights` returns them under these names.
    """

    def __init__(self, unet_config: Mapping[str, Any], position_config: PositionNetConfig) -> None:
        super().__init__()
        self.unet = UNet2DConditionModel(**{**unet_config, "attention_type": "gated"})
        self.unet.position_net = _Passthrough()
        for block in [m for m in self.unet.modules() if hasattr(m, "fuser")]:
            block.fuser = Fuser(block.fuser)
        self.fusers: tuple[Fuser, ...] = tuple(m for m in self.unet.modules() if isinstance(m, Fuser))
        self.position_net = PositionNet(position_config)
        self.scaleu = ScaleU(backbone_channels(self.unet.config))
        self.scaleu_hooks = self.scaleu.attach(self.unet)
        self.eval().requires_grad_(False)

    def load(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Load all weights by name.  Raises LayoutmarkError if one is missing, unexpected or of another shape."""
        expected_tensors = self.state_dict()
        missing = sorted(expected_tensors.keys() - weights.keys())
        unexpected = sorted(weights.keys() - expected_tensors.keys())
        shared = expected_tensors.keys() & weights.keys()
        mismatched = sorted(n for n in shared if expected_tensors[n].shape != weights[n].shape)
        for problem, names in (
            ("no weights for", missing), ("unexpected weights", unexpected), ("another shape for", mismatched),
        ):  # fmt: skip
            if names:
                raise LayoutmarkError(
                    "weights of instancediffusion",
                    found=f"{problem} {names[0]!r} and {len(names) - 1} more",
                    expected=f"the {len(expected_tensors)} tensors of this configuration",
                    do="Check that the configuration and the checkpoint belong together.",
                )
        self.load_state_dict(dict(weights))

    def tokens(self, grounding: Grounding, formats: Formats) -> torch.Tensor:
        """Instance tokens (B, 184, D).  Raises LayoutmarkError if the text features have a different width."""
        width = self.position_net.config.text_width
        if grounding.text.shape[-1] != width:
            raise LayoutmarkError(
                "grounding of instancediffusion, text", found=f"{grounding.text.shape[-1]} numbers per instance",
                expected=f"{width}", do="Use the text encoder that the weights were trained with.",
            )  # fmt: skip
        tokens: torch.Tensor = self.position_net(grounding, formats)
        return tokens

    def null_tokens(self, images: int) -> torch.Tensor:
        """Tokens (B, 184, D) of images without instances; they do not depend on the formats."""
        device = self.position_net.positions.device
        return self.tokens(Grounding.empty(images, self.position_net.config.text_width, device), Formats())

    def forward(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor | int,
        context: torch.Tensor,
        tokens: torch.Tensor,
        *,
        alpha: float = 1.0,
        allowed: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predicted noise (B, C, h, w), in the dtype of the latents.

        Args:
            latents: (B, C, h, w), unit variance at the noisiest step.
            timestep: one for all images or (B,), 0..999.
            context: states of the text encoder (B, n, D).
            tokens: instance tokens (B, 184, D).
            alpha: strength of the gated attention, 0..1; at 0 it is skipped and the tokens have no effect.
            allowed: bool (B, N, N) of `allowed_pairs`, which acts on its own grid alone; None lets everything see
                everything.

        Raises LayoutmarkError for an alpha outside its range.
        """
        if not 0 <= alpha <= 1:
            raise LayoutmarkError(
                "alpha of instancediffusion",
                found=str(alpha),
                expected="a strength in [0, 1]",
                do="Use alpha_schedule.",
            )
        dtype = self.unet.dtype
        grounding = None if alpha == 0 else {"gligen": {"objs": tokens.to(dtype)}}
        for fuser in self.fusers:
            fuser.strength, fuser.allowed = alpha, allowed
        try:
            noise: torch.Tensor = self.unet(
                latents.to(dtype),
                timestep,
                encoder_hidden_states=context.to(dtype),
                cross_attention_kwargs=grounding,
                return_dict=False,
            )[0]
        finally:
            for fuser in self.fusers:
                fuser.strength, fuser.allowed = 1.0, None
        return noise.to(latents.dtype)


def masked_pairs(
    grounded: Grounding, configuration: str, side: int, mode: Literal["off", "released", "corrected"]
) -> torch.Tensor | None:
    """Pairs allowed by masked attention, bool (B, N, N), on a grid of `side` cells; None when masking is off.

    `released` repeats the public code, which cannot mask when only points are given.  `corrected` does not swap x and
    y, and uses a square around each point as its box.
    """
    if mode == "off" or (mode == "released" and configuration == "point"):
        return None
    return allowed_pairs(box_rasters(mask_boxes(grounded, configuration), side), transposed=mode == "released")


def mask_boxes(grounded: Grounding, configuration: str) -> torch.Tensor:
    """Boxes (B, 30, 4) for masked attention: squares around the points when only points are given."""
    if configuration != "point":
        return grounded.boxes
    corners = torch.cat([grounded.points - POINT_BOX_HALF_SIDE, grounded.points + POINT_BOX_HALF_SIDE], -1).clamp(0, 1)
    return corners * grounded.valid[..., None]


def box_rasters(boxes: torch.Tensor, side: int = MASKED_GRID_SIDE) -> torch.Tensor:
    """Rasterise boxes (B, 30, 4), xyxy in [0, 1], to bool (B, 30, side, side), rows before columns.

    Ranges are half-open and rounded half to even.  An empty slot or a box that rounds to nothing covers no cell.
    """
    # Rounded in float64 like the public code, because a corner may lie exactly on a half.
    x0, y0, x1, y1 = (boxes.double() * side).round().unbind(-1)
    cells = torch.arange(side, device=boxes.device)
    rows = (cells >= y0[..., None]) & (cells < y1[..., None])
    columns = (cells >= x0[..., None]) & (cells < x1[..., None])
    return rows[..., :, None] & columns[..., None, :]


def allowed_pairs(rasters: torch.Tensor, *, transposed: bool) -> torch.Tensor:
    """Attention mask from rasters: bool (B, 30, h, w) to bool (B, hw + 184, hw + 184), pixels first, then tokens.

    Two pixels may attend to each other if one box covers both; a pixel and the box or polygon token of an instance if
    its box covers the pixel.  Other tokens, token-to-token attention and self-attention are unrestricted, and so is an
    image without any covered cell.  The public code swaps x and y here, and the published weights were trained with
    that; `transposed` repeats it.
    """
    images, pixels = len(rasters), rasters[0, 0].numel()
    covers = (rasters.transpose(-1, -2) if transposed else rasters).flatten(2).float()
    allowed = torch.ones(images, pixels + TOKENS, pixels + TOKENS, dtype=torch.bool, device=rasters.device)
    allowed[:, :pixels, :pixels] = covers.transpose(1, 2) @ covers > 0
    for index, name in enumerate(SIZES):
        if name in ("box", "polygon"):
            token_slice = slice(pixels + index * SLOTS, pixels + (index + 1) * SLOTS)
            allowed[:, token_slice, :pixels] = covers > 0
            allowed[:, :pixels, token_slice] = covers.transpose(1, 2) > 0
    allowed.diagonal(dim1=1, dim2=2).fill_(True)
    return allowed | ~rasters.flatten(1).any(1)[:, None, None]
