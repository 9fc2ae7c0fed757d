"""Read and edit attention variables of a batch in which every row is a different image.

Unlike `CrossAttention` this covers self-attention too, and all rows of a forward pass.  A layer without an edit runs
its previous processor, so its output stays bit-identical.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention

from layoutmark.diffusion.attention import CrossAttention, Layer

Edit = Callable[[torch.Tensor], torch.Tensor]
"""Maps one variable of all rows to a tensor of the same shape and dtype."""
UNET_PARTS = ("down_blocks", "mid_block", "up_blocks")
"""Parts of a UNet in order of execution."""


@dataclass(frozen=True, slots=True)
class AttentionSite:
    """One attention layer in the current forward pass; `number` counts layers of its kind in order of execution."""

    layer: Layer
    is_cross: bool
    number: int


@dataclass(frozen=True, slots=True)
class Edits:
    """Edits of one layer: keys and values (rows, heads, keys, c), probabilities (rows, heads, queries, keys).

    An edit may only read a variable and return it unchanged.  `output` edits the attention output (rows, heads,
    queries, c); it also receives the layer's queries, keys, values and scale.
    """

    keys: Edit | None = None
    values: Edit | None = None
    probabilities: Edit | None = None
    output: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor] | None = None


ChooseEdits = Callable[[AttentionSite], Edits | None]
"""Returns the edits of a layer, or None to run its previous processor."""


@contextmanager
def editing_attention(unet: UNet2DConditionModel, choose: ChooseEdits) -> Iterator[None]:
    """Within this block every forward pass of `unet` calls `choose` at each attention layer.

    On exit, also after an exception, the previous processors are restored.
    """
    previous = dict(unet.attn_processors)
    grids = CrossAttention(unet)
    names = {kind: _sort_by_execution(previous, kind) for kind in ("attn1", "attn2")}
    hook = unet.register_forward_pre_hook(grids.record_grid, with_kwargs=True)
    unet.set_attn_processor(
        {
            f"{name}.processor": _Processor(choose, grids, name, kind == "attn2", number, previous[f"{name}.processor"])
            for kind in names
            for number, name in enumerate(names[kind])
        }
    )
    try:
        yield
    finally:
        hook.remove()
        unet.set_attn_processor(previous)


def _sort_by_execution(processors: dict[str, Any], kind: str) -> list[str]:
    names = [name.removesuffix(".processor") for name in processors if name.endswith(f"{kind}.processor")]
    return sorted(names, key=lambda name: UNET_PARTS.index(name.partition(".")[0]))


class _Processor:
    """Attention with edits; fused unless the probabilities are edited, then with an explicit softmax in float32."""

    def __init__(
        self, choose: ChooseEdits, grids: CrossAttention, name: str, is_cross: bool, number: int, previous: Any
    ) -> None:
        self.choose = choose
        self.grids = grids
        self.name = name
        self.is_cross = is_cross
        self.number = number
        self.previous = previous

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        edits = self.choose(
            AttentionSite(self.grids.layer(self.name, hidden_states.shape[1]), self.is_cross, self.number)
        )
        if edits is None:
            out: torch.Tensor = self.previous(attn, hidden_states, encoder_hidden_states, **kwargs)
            return out
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            variable.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for variable in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        key = key if edits.keys is None else edits.keys(key)
        value = value if edits.values is None else edits.values(value)
        if edits.probabilities is None:
            mixed = F.scaled_dot_product_attention(query, key, value, scale=attn.scale)
        else:
            dtype = torch.promote_types(query.dtype, torch.float32)
            logits = query.to(dtype) @ key.to(dtype).transpose(-1, -2)
            probabilities = edits.probabilities((logits * attn.scale).softmax(-1))
            mixed = probabilities.to(value.dtype) @ value
        if edits.output is not None:
            mixed = edits.output(mixed, query, key, value, attn.scale)
        result: torch.Tensor = attn.to_out[1](attn.to_out[0](mixed.transpose(1, 2).flatten(2)))
        rescaled: torch.Tensor = result / attn.rescale_output_factor
        return rescaled
