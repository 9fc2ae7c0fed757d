"""Attention variables of a batch whose rows are different pictures: read, and carried from one row to another.

Unlike `CrossAttention` this sees self-attention too, and all rows of a pass.  A layer without an edit runs the
processor that was there before, so that it changes no bit.
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
"""Takes and gives one variable of all rows, same shape and dtype."""
PARTS = ("down_blocks", "mid_block", "up_blocks")
"""Parts of a UNet in the order in which they run."""


@dataclass(frozen=True, slots=True)
class Site:
    """One attention layer of the pass under way; `number` counts the layers of its kind as they run, from 0."""

    layer: Layer
    cross: bool
    number: int


@dataclass(frozen=True, slots=True)
class Edits:
    """What happens in one layer: keys and values (rows, heads, keys, c), probabilities (rows, heads, queries, keys).

    An edit of the probabilities may as well only look and give back what it got.  `found` edits what the queries find
    (rows, heads, queries, c), and is given the layer's queries, keys, values and scale beside it.
    """

    keys: Edit | None = None
    values: Edit | None = None
    probabilities: Edit | None = None
    found: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor] | None = None


Choice = Callable[[Site], Edits | None]
"""The edits of a layer; None leaves it to the processor that was there before."""


@contextmanager
def swapping(unet: UNet2DConditionModel, choose: Choice) -> Iterator[None]:
    """Within this block every pass of `unet` asks `choose` at each attention layer.

    On exit, also after an exception, the previous processors are back.
    """
    before = dict(unet.attn_processors)
    grids = CrossAttention(unet)
    names = {kind: _in_order(before, kind) for kind in ("attn1", "attn2")}
    hook = unet.register_forward_pre_hook(grids._note_grid, with_kwargs=True)
    unet.set_attn_processor(
        {
            f"{name}.processor": _Processor(choose, grids, name, kind == "attn2", number, before[f"{name}.processor"])
            for kind in names
            for number, name in enumerate(names[kind])
        }
    )
    try:
        yield
    finally:
        hook.remove()
        unet.set_attn_processor(before)


def _in_order(processors: dict[str, Any], kind: str) -> list[str]:
    names = [name.removesuffix(".processor") for name in processors if name.endswith(f"{kind}.processor")]
    return sorted(names, key=lambda name: PARTS.index(name.partition(".")[0]))


class _Processor:
    """Attention with edits: a fused softmax unless the probabilities are wanted, then an explicit one in float32."""

    def __init__(
        self, choose: Choice, grids: CrossAttention, name: str, cross: bool, number: int, previous: Any
    ) -> None:
        self.choose = choose
        self.grids = grids
        self.name = name
        self.cross = cross
        self.number = number
        self.previous = previous

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        edits = self.choose(Site(self.grids.layer(self.name, hidden_states.shape[1]), self.cross, self.number))
        if edits is None:
            out: torch.Tensor = self.previous(attn, hidden_states, encoder_hidden_states, **kwargs)
            return out
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for part in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
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
        if edits.found is not None:
            mixed = edits.found(mixed, query, key, value, attn.scale)
        result: torch.Tensor = attn.to_out[1](attn.to_out[0](mixed.transpose(1, 2).flatten(2)))
        rescaled: torch.Tensor = result / attn.rescale_output_factor
        return rescaled
