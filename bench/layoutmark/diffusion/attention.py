"""Read and edit cross-attention: logits before the softmax, probabilities after it.

Only `attn2` layers are touched.  While neither an edit nor a reader is set, every layer runs its previous processor, so
outputs stay bit-identical: an explicit softmax is not bit-equal to the fused one.
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
    """One attention layer in the current forward pass: its name in the UNet and the grid of its queries.

    `height` x `width` is the latent grid divided by `stride`, rounded up.
    """

    name: str
    stride: int
    height: int
    width: int


LogitEdit = Callable[[torch.Tensor, Layer], torch.Tensor]
"""Maps unscaled logits Q K^T, (rows, heads, height*width, tokens), to logits of the same shape."""
ProbabilityReader = Callable[[torch.Tensor, Layer], None]
"""Receives the probabilities, (rows, heads, height*width, tokens), attached to the graph if there is one."""


class CrossAttention:
    """Control over the cross-attention of one UNet, installed as a context manager.

    On exit, also after an exception, the previous processors are restored and the hook is removed.  The caller of the
    UNet sets `rows` to the conditional rows of the batch: edits and readers never see the other rows.
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
        self._hook = self.unet.register_forward_pre_hook(self.record_grid, with_kwargs=True)
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
    def using(self, edit: LogitEdit | None = None, read: ProbabilityReader | None = None) -> Iterator[None]:
        """Apply `edit` and `read` in every forward pass within this block.

        With gradient checkpointing, gradients must be taken inside the block too.
        """
        self.edit, self.read = edit, read
        try:
            yield
        finally:
            self.edit = self.read = None

    def layer(self, name: str, queries: int) -> Layer:
        """The layer `name` with the power-of-two stride at which the latent grid has that many queries."""
        height, width = self.grid
        for stride in (1, 2, 4, 8, 16, 32, 64):
            rows, columns = -(-height // stride), -(-width // stride)
            if rows * columns == queries:
                return Layer(name, stride, rows, columns)
        raise ValueError(f"{name}: {queries} queries fit no power-of-two reduction of a {height} x {width} latent")

    def _layers(self) -> list[tuple[str, Attention]]:
        named = self.unet.named_modules()
        return [(name, module) for name, module in named if name.endswith("attn2") and isinstance(module, Attention)]

    def record_grid(self, _: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook of the UNet: remember the height and width of its input."""
        sample = args[0] if args else kwargs["sample"]
        self.grid = (int(sample.shape[-2]), int(sample.shape[-1]))


@contextmanager
def gradient_checkpointing(unet: UNet2DConditionModel, active: bool = True) -> Iterator[None]:
    """Enable gradient checkpointing within this block: less memory, one more forward pass per gradient."""
    if active:
        unet.enable_gradient_checkpointing()
    try:
        yield
    finally:
        if active:
            unet.disable_gradient_checkpointing()


class _Processor:
    """Explicit softmax attention in at least float32, or the previous processor if nothing is read or edited."""

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
