"""Prompts to text embeddings: 77 positions, position 0 the start token, the first free one the end token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import CLIPTextModel, CLIPTokenizer

POSITIONS = 77
"""Length every prompt is padded or cut to."""
LAST_CONTENT = POSITIONS - 2
"""Last position that can hold a content token; the end token needs one after it."""


@dataclass(frozen=True, eq=False, slots=True)
class Text:
    """Embeddings of a batch, conditional and unconditional, each (B, 77, channels)."""

    conditional: torch.Tensor
    unconditional: torch.Tensor


def content_ids(tokenizer: CLIPTokenizer, text: str) -> list[int]:
    """Token ids of `text` alone: no start, end or padding, not cut."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    return ids


def tokens_cut(tokenizer: CLIPTokenizer, prompt: str) -> int:
    """How many content tokens of `prompt` do not fit; 0 if the model sees all of it."""
    return max(0, len(content_ids(tokenizer, prompt)) - LAST_CONTENT)


@torch.no_grad()
def encode(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, prompts: Sequence[str]) -> torch.Tensor:
    """Last hidden state after the final norm, (B, 77, channels), as Stable Diffusion 1.x takes it."""
    batch = tokenizer(list(prompts), padding="max_length", max_length=POSITIONS, truncation=True, return_tensors="pt")
    hidden: torch.Tensor = text_encoder(batch["input_ids"].to(text_encoder.device))[0]
    return hidden


def encode_for_guidance(
    tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, prompts: Sequence[str], negative: str = ""
) -> Text:
    """Prompts and, for the unconditional half, `negative` for each of them."""
    conditional = encode(tokenizer, text_encoder, prompts)
    return Text(conditional, encode(tokenizer, text_encoder, [negative]).expand_as(conditional))
