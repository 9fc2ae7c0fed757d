"""Look into cross-attention and change it: logits before the softmax, probabilities after it.

Only `attn2` is touched.  While nothing acts, every layer runs the processor that was there before, so an idle control
changes no bit: an explicit softmax is not bit-equal to the fused one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention


@dataclass(frozen=True, slots=True)
class Layer:
    """One cross-attention layer in the pass under way: its name in the UNet and the grid of its queries.

    `height` x `width` is the latent's grid divided by `stride`, rounded up.
    """

    name: str
    stride: int
    height: int
    width: int


LogitEdit = Callable[[torch.Tensor, Layer], torch.Tensor]
"""Unscaled logits Q K^T, (rows, heads, height*width, tokens), to logits of the same shape."""
ProbabilityReader = Callable[[torch.Tensor, Layer], None]
"""Sees the probabilities, (rows, heads, height*width, tokens), still in the graph if there is one."""


class CrossAttention:
    """Control over the cross-attention of one UNet, installed as a context manager.

    On exit, also after an exception, the previous processors and no hook are left.  Whoever runs the UNet sets `rows`
    to the part of the batch that is conditional: the others never reach an edit or a reader.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self.unet = unet
        self.rows = slice(None)
        self.edit: LogitEdit | None = None
        self.read: ProbabilityReader | None = None
        self.grid = (0, 0)
        self._previous: dict[str, Any] = {}
        self._hook: torch.utils.hooks.RemovableHandle | None = None

    def __enter__(self) -> CrossAttention:
        self._hook = self.unet.register_forward_pre_hook(self._note_grid, with_kwargs=True)
        for name, module in self._layers():
            self._previous[name] = module.processor
            module.set_processor(_Processor(self, name, module.processor))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, module in self._layers():
            module.set_processor(self._previous.pop(name))
        if self._hook is not None:
            self._hook.remove()
        self._hook = None

    @contextmanager
    def acting(self, edit: LogitEdit | None = None, read: ProbabilityReader | None = None) -> Iterator[None]:
        """Within this block every pass uses `edit` and `read`.  If the UNet recomputes, take gradients inside it."""
        self.edit, self.read = edit, read
        try:
            yield
        finally:
            self.edit = self.read = None

    def layer(self, name: str, queries: int) -> Layer:
        """The grid of a layer with that many queries; its stride is the power of two that divides the latent so."""
        height, width = self.grid
        for stride in (1, 2, 4, 8, 16, 32, 64):
            rows, columns = -(-height // stride), -(-width // stride)
            if rows * columns == queries:
                return Layer(name, stride, rows, columns)
        raise ValueError(f"{name}: {queries} queries fit no power-of-two reduction of a {height} x {width} latent")

    def _layers(self) -> list[tuple[str, Attention]]:
        named = self.unet.named_modules()
        return [(name, module) for name, module in named if name.endswith("attn2") and isinstance(module, Attention)]

    def _note_grid(self, _: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        sample = args[0] if args else kwargs["sample"]
        self.grid = (int(sample.shape[-2]), int(sample.shape[-1]))


@contextmanager
def recomputing(unet: UNet2DConditionModel, active: bool = True) -> Iterator[None]:
    """Gradient checkpointing within this block: less memory, one more forward pass of work for each gradient."""
    if active:
        unet.enable_gradient_checkpointing()
    try:
        yield
    finally:
        if active:
            unet.disable_gradient_checkpointing()


class _Processor:
    """Explicit softmax attention in at least float32, or the previous processor while idle."""

    def __init__(self, control: CrossAttention, name: str, previous: Any) -> None:
        self.control = control
        self.name = name
        self.previous = previous

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        control = self.control
        batch = len(hidden_states)
        start, stop, _ = control.rows.indices(batch)
        if start >= stop or encoder_hidden_states is None or (control.edit is None and control.read is None):
            out: torch.Tensor = self.previous(
                attn, hidden_states, encoder_hidden_states, attention_mask=attention_mask, temb=temb, **kwargs
            )
            return out
        if attn.norm_cross:
            encoder_hidden_states = attn.norm_encoder_hidden_states(encoder_hidden_states)
        query, key, value = attn.to_q(hidden_states), attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        dtype = torch.promote_types(query.dtype, torch.float32)
        query, key, value = (part.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in (query, key, value))
        logits = query.to(dtype) @ key.to(dtype).transpose(-1, -2)
        layer = control.layer(self.name, hidden_states.shape[1])
        if control.edit is not None:
            edited = control.edit(logits[start:stop], layer)
            logits = torch.cat([logits[:start], edited, logits[stop:]]) if stop - start < batch else edited
        scaled = logits * attn.scale
        if attention_mask is not None:
            mask = attn.prepare_attention_mask(attention_mask, encoder_hidden_states.shape[1], batch)
            scaled = scaled + mask.view(batch, attn.heads, -1, mask.shape[-1])
        probabilities = scaled.softmax(-1)
        if control.read is not None:
            control.read(probabilities[start:stop], layer)
        mixed = (probabilities.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        result: torch.Tensor = attn.to_out[1](attn.to_out[0](mixed))
        rescaled: torch.Tensor = result / attn.rescale_output_factor
        return rescaled
