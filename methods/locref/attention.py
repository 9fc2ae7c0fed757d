"""Layout-net: image tokens in cross-attention, inside the boxes of their instances.

Every cross-attention layer computes, before its output projection:

    HS <- HS * (1 - FM) + (CI_HS + RI_HS) * FM

HS is the result of attention to the text, CI_HS to the composite, and RI_HS to the references, each visible only from
its own box; FM marks the cells covered by any box.  The output projection is linear and acts per cell, so both sides
are projected before they are fused: outside the boxes the result is then bit-identical to the unmodified layer.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import nn

from layoutmark.diffusion import CrossAttention

from .conditions import Condition

Mode = Literal["replace", "add"]
Overlap = Literal["softmax", "sum", "topmost"]
Branches = Literal["both", "composite", "references"]


@dataclass(frozen=True, slots=True)
class Fusion:
    """How text and images are fused."""

    mode: Mode = "replace"
    """`add` keeps the text result inside the boxes: HS + (CI_HS + RI_HS) * FM."""
    overlap: Overlap = "softmax"
    """Where boxes overlap: one softmax over all tokens, a sum of separate results, or only the smallest box."""
    strength: float = 1.0
    """s: inside the boxes (1 - s) HS + s (CI_HS + RI_HS); 0 is the unmodified stack."""
    instance_mask: bool = True
    """False makes every reference visible to all foreground cells."""
    branches: Branches = "both"


class ImageBranch(nn.Module):
    """New projections of one layer, initialised from its own: keys, values, and a query for references."""

    def __init__(self, attn: Attention, *, has_reference_query: bool) -> None:
        super().__init__()
        self.composite_key = _copy(attn.to_k)
        self.composite_value = _copy(attn.to_v)
        self.reference_key = _copy(attn.to_k)
        self.reference_value = _copy(attn.to_v)
        self.reference_query = _copy(attn.to_q) if has_reference_query else None

    def of_composite(self, attn: Attention, hidden: torch.Tensor, condition: Condition) -> torch.Tensor:
        """CI_HS (rows, cells, C)."""
        tokens = condition.composite
        return _attend(attn, attn.to_q(hidden), self.composite_key(tokens), self.composite_value(tokens))

    def of_references(
        self, attn: Attention, hidden: torch.Tensor, condition: Condition, visible: torch.Tensor, overlap: Overlap
    ) -> torch.Tensor:
        """RI_HS (rows, cells, C); `visible`, bool (rows, R, cells), tells which references a cell may attend to.

        Cells without a visible reference get arbitrary finite values.
        """
        query = attn.to_q(hidden) if self.reference_query is None else self.reference_query(hidden)
        tokens = condition.references
        key, value = self.reference_key(tokens), self.reference_value(tokens)
        if overlap == "sum":
            separate = _attend(attn, query[:, None].expand(-1, tokens.shape[1], -1, -1), key, value)
            return (separate * visible[..., None]).sum(1)
        if overlap == "topmost":
            visible = visible & (visible.flip(1).cumsum(1).flip(1) == 1)
        pairs = (visible | ~visible.any(1, keepdim=True)).transpose(1, 2).repeat_interleave(tokens.shape[2], 2)
        return _attend(attn, query, key.flatten(1, 2), value.flatten(1, 2), pairs[:, None])


class ImageAttention:
    """Context manager that installs image branches on the cross-attention of a U-Net.

    On exit, also after an exception, the previous processors are restored.
    """

    def __init__(self, unet: UNet2DConditionModel, branches: nn.ModuleDict, fusion: Fusion) -> None:
        self.unet = unet
        self.branches = branches
        self.fusion = fusion
        self.condition: Condition | None = None
        self.grids = CrossAttention(unet)

    def __enter__(self) -> ImageAttention:
        self.grids.__enter__()
        for key, branch in self.branches.items():
            attn = self.unet.get_submodule(layer_name(key))
            assert isinstance(attn, Attention)
            assert isinstance(branch, ImageBranch)
            attn.set_processor(_Processor(self, layer_name(key), branch, attn.processor))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.grids.__exit__(kind, error, trace)

    @contextmanager
    def acting(self, condition: Condition | None) -> Iterator[None]:
        """Apply `condition`, with one row per row of the U-Net's batch, to every pass within this block.

        Without a condition, with strength 0 or without instances, every layer runs unmodified.
        """
        is_idle = condition is None or self.fusion.strength == 0 or not bool(condition.masks.any())
        self.condition = None if is_idle else condition
        try:
            yield
        finally:
            self.condition = None


def new_branches(unet: UNet2DConditionModel, *, has_reference_query: bool) -> nn.ModuleDict:
    """An untrained branch for every cross-attention layer."""
    names = [name.removesuffix(".processor") for name in unet.attn_processors if name.endswith("attn2.processor")]
    return nn.ModuleDict(
        {_key(name): ImageBranch(unet.get_submodule(name), has_reference_query=has_reference_query) for name in names}
    )


def layer_name(key: str) -> str:
    """Name of a layer in the U-Net; keys of a ModuleDict cannot contain dots."""
    return key.replace("/", ".")


class _Processor:
    """Runs the previous processor outside the boxes and image attention inside."""

    def __init__(self, control: ImageAttention, name: str, branch: ImageBranch, previous: Any) -> None:
        self.control = control
        self.name = name
        self.branch = branch
        self.previous = previous

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        text: torch.Tensor = self.previous(attn, hidden_states, *args, **kwargs)
        condition, fusion = self.control.condition, self.control.fusion
        if condition is None:
            return text
        masks = condition.masks_on(self.control.grids.layer(self.name, hidden_states.shape[1]))
        foreground = masks.any(1)
        image_states = torch.zeros_like(hidden_states)
        if fusion.branches != "references":
            image_states = self.branch.of_composite(attn, hidden_states, condition)
        if fusion.branches != "composite":
            visible = masks if fusion.instance_mask else masks.any(2, keepdim=True) & foreground[:, None]
            image_states = image_states + self.branch.of_references(
                attn, hidden_states, condition, visible, fusion.overlap
            )
        out, strength = attn.to_out[0], fusion.strength
        if fusion.mode == "replace":
            inside = (1 - strength) * text + strength * out(image_states) / attn.rescale_output_factor
        else:
            inside = text + strength * F.linear(image_states, out.weight) / attn.rescale_output_factor
        return torch.where(foreground[..., None], inside.to(text.dtype), text)


def _key(name: str) -> str:
    return name.replace(".", "/")


def _copy(linear: nn.Module) -> nn.Module:
    return copy.deepcopy(linear).requires_grad_(True)


def _attend(
    attn: Attention, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, visible: torch.Tensor | None = None
) -> torch.Tensor:
    """Attention of (..., cells, C) to (..., tokens, C), with the heads and the scale of the layer.

    Always in single precision: the summation order depends on the number of tokens, visible or not, so in half
    precision an image would depend on the instance counts of the other images in its batch.
    """
    q, k, v = (states.float().unflatten(-1, (attn.heads, -1)).transpose(-3, -2) for states in (query, key, value))
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, scale=attn.scale)
    return attended.transpose(-3, -2).flatten(-2).to(query.dtype)
