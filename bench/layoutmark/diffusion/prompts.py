"""Prompts to text embeddings of 77 token positions: start token, content, end token, padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import CLIPTextModel, CLIPTokenizer

POSITIONS = 77
"""Number of token positions to which every prompt is padded or truncated."""
LAST_CONTENT = POSITIONS - 2
"""Last position that can hold a content token; the end token follows it."""


@dataclass(frozen=True, eq=False, slots=True)
class TextEmbeddings:
    """Conditional and unconditional embeddings of a batch, each (B, 77, channels)."""

    conditional: torch.Tensor
    unconditional: torch.Tensor


def content_ids(tokenizer: CLIPTokenizer, text: str) -> list[int]:
    """Token ids of `text` without start, end or padding tokens, not truncated."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    return ids


def count_truncated_tokens(tokenizer: CLIPTokenizer, prompt: str) -> int:
    """Number of content tokens of `prompt` that the text encoder does not see; 0 if it fits."""
    return max(0, len(content_ids(tokenizer, prompt)) - LAST_CONTENT)


@torch.no_grad()
def encode(tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, prompts: Sequence[str]) -> torch.Tensor:
    """Last hidden state after the final norm, (B, 77, channels), as Stable Diffusion 1.x uses it."""
    batch = tokenizer(list(prompts), padding="max_length", max_length=POSITIONS, truncation=True, return_tensors="pt")
    hidden: torch.Tensor = text_encoder(batch["input_ids"].to(text_encoder.device))[0]
    return hidden


def encode_for_guidance(
    tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, prompts: Sequence[str], negative: str = ""
) -> TextEmbeddings:
    """Embeddings for classifier-free guidance: the prompts, and `negative` for every unconditional row."""
    conditional = encode(tokenizer, text_encoder, prompts)
    return TextEmbeddings(conditional, encode(tokenizer, text_encoder, [negative]).expand_as(conditional))
