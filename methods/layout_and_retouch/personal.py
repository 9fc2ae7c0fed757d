"""Subject adapters, which personalise a frozen stack, and prompts that refer to their subjects.

DreamBooth (arXiv 2208.12242) as low-rank updates of the UNet's attention projections (LoRA, arXiv 2106.09685), with
prompts such as `sks dog`; Textual Inversion (arXiv 2208.01618) as embeddings for the tokens of `sks`, which replaces
the class noun.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from layoutmark.diffusion.prompts import LAST_CONTENT, POSITIONS, content_ids
from layoutmark.diffusion.stack import Stack

BACKENDS = ("dreambooth", "textual_inversion", "none")
"""`none` is the unchanged stack, prompted with the class noun."""
IDENTIFIER = "sks"
"""A word without a meaning; a tokenizer may split it."""
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
"""Attention projections that get a low-rank update."""


@dataclass(frozen=True, eq=False)
class SubjectAdapter:
    """Trained weights of one or several subjects.  The stack's own weights never change.

    `lora` holds for every projection the factors `NAME.lora_A.weight` (rank, in) and `NAME.lora_B.weight` (out, rank);
    it is empty for backends other than `dreambooth`.  `token_embeddings` (n, channels) has one embedding per token of
    the identifier, or (k * n, channels) for its first k occurrences in a prompt; it is None for backends other than
    `textual_inversion`.
    """

    backend: str
    lora: Mapping[str, torch.Tensor] = field(default_factory=dict)
    token_embeddings: torch.Tensor | None = None

    @contextmanager
    def applied_to(self, unet: UNet2DConditionModel) -> Iterator[None]:
        """Personalise `unet` within this block.  Gradients must be taken inside the block too."""
        handles = []
        try:
            for key, down in self.lora.items():
                if (name := key.removesuffix(".lora_A.weight")) != key:
                    hook = _low_rank_hook(down, self.lora[f"{name}.lora_B.weight"])
                    handles.append(unet.get_submodule(name).register_forward_hook(hook))
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def applied_to_text_encoder(self, tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel) -> Iterator[None]:
        """Replace the embeddings of the identifier's tokens within this block."""
        if self.token_embeddings is None:
            yield
            return
        handle = text_encoder.get_input_embeddings().register_forward_hook(
            _embedding_hook(torch.tensor(content_ids(tokenizer, IDENTIFIER)), self.token_embeddings)
        )
        try:
            yield
        finally:
            handle.remove()


def combine_adapters(adapters: Sequence[SubjectAdapter]) -> SubjectAdapter:
    """Combine adapters into one that applies them at once.

    Their weight deltas are summed; the k-th identifier in a prompt refers to the subject of the k-th adapter.
    """
    first, *others = adapters
    if not others:
        return first
    lora = {}
    for name in {name: None for adapter in adapters for name in adapter.lora}:
        # Concatenating factors (rank, in) and (out, rank) along the rank sums their products.
        rank_axis = 0 if name.endswith(".lora_A.weight") else 1
        lora[name] = torch.cat([adapter.lora[name] for adapter in adapters if name in adapter.lora], rank_axis)
    embeddings = [adapter.token_embeddings for adapter in adapters if adapter.token_embeddings is not None]
    return SubjectAdapter(first.backend, lora, torch.cat(embeddings) if embeddings else None)


def new_lora(
    unet: UNet2DConditionModel, rank: int, generator: torch.Generator, prefix: str = ""
) -> dict[str, torch.Tensor]:
    """Float32 factors for all attention projections whose name starts with `prefix`: A random, B zero (no effect)."""
    factors = {}
    for name, module in unet.named_modules():
        if not name.startswith(prefix):
            continue
        if isinstance(module, torch.nn.Linear) and ".attn" in name and name.endswith(PROJECTIONS):
            down = torch.randn(rank, module.in_features, generator=generator) / rank
            factors[f"{name}.lora_A.weight"] = down.to(unet.device)
            factors[f"{name}.lora_B.weight"] = torch.zeros(module.out_features, rank, device=unet.device)
    return factors


@dataclass(frozen=True, slots=True)
class SubjectPrompt:
    """A prompt that refers to subjects, as token ids without start and end tokens.  Positions count from 1.

    It is made from a plain prompt, in which class nouns stand for the subjects.
    """

    token_ids: tuple[int, ...]
    noun_spans: tuple[range, ...]
    """Positions of the subjects' class nouns in the plain prompt, in its order."""
    subject_positions: tuple[tuple[int, ...], ...]
    """For each of these nouns, the positions of the tokens that refer to its subject; truncated ones are left out."""

    def map_positions(self, positions: Sequence[int]) -> tuple[int, ...]:
        """Map positions of the plain prompt to this prompt; those of a noun become its subject's.

        Truncated positions are left out.
        """
        shift = 0
        for noun, subject in zip(self.noun_spans, self.subject_positions, strict=True):
            if any(p in noun for p in positions):
                return subject
            if all(p >= noun.stop for p in positions):
                shift += len(subject) - len(noun)
        return tuple(p + shift for p in positions if p + shift <= LAST_CONTENT)


def make_subject_prompt(
    tokenizer: CLIPTokenizer, prompt: str, nouns: Sequence[Sequence[int]], backend: str
) -> SubjectPrompt:
    """Refer to subjects where `prompt` has their class nouns, each given by consecutive positions.

    `a red dog` becomes `a red sks dog` for dreambooth and `a red sks` for textual_inversion; it is unchanged for none.
    Duplicate nouns are ignored.
    """
    plain_ids = content_ids(tokenizer, prompt)
    identifier = content_ids(tokenizer, IDENTIFIER)
    ids: list[int] = []
    copied = 0
    noun_spans, subject_positions = [], []
    for first, last in sorted({(noun[0], noun[-1]) for noun in nouns}):
        noun_ids = plain_ids[first - 1 : last]
        subject_ids = {"dreambooth": identifier + noun_ids, "textual_inversion": identifier, "none": noun_ids}[backend]
        ids += plain_ids[copied : first - 1]
        start = len(ids) + 1
        ids += subject_ids
        copied = last
        noun_spans.append(range(first, last + 1))
        subject_positions.append(tuple(p for p in range(start, start + len(subject_ids)) if p <= LAST_CONTENT))
    return SubjectPrompt((*ids, *plain_ids[copied:]), tuple(noun_spans), tuple(subject_positions))


def make_photo_prompt(tokenizer: CLIPTokenizer, category: str, backend: str) -> SubjectPrompt:
    """The prompt `a photo of` the subject."""
    start = len(content_ids(tokenizer, "a photo of")) + 1
    noun = range(start, start + len(content_ids(tokenizer, category)))
    return make_subject_prompt(tokenizer, f"a photo of {category}", [noun], backend)


def encode_subject_prompts(stack: Stack, adapter: SubjectAdapter, prompts: Sequence[SubjectPrompt]) -> torch.Tensor:
    """Embeddings (B, 77, channels) like `encode`, with the adapter's token embeddings; attached to the graph."""
    rows = []
    for prompt in prompts:
        ids = [stack.tokenizer.bos_token_id, *prompt.token_ids[:LAST_CONTENT], stack.tokenizer.eos_token_id]
        rows.append(ids + [stack.tokenizer.pad_token_id] * (POSITIONS - len(ids)))
    with adapter.applied_to_text_encoder(stack.tokenizer, stack.text_encoder):
        hidden: torch.Tensor = stack.text_encoder(torch.tensor(rows, device=stack.device))[0]
    return hidden


def _low_rank_hook(down: torch.Tensor, up: torch.Tensor) -> Any:
    """Forward hook that adds the low-rank update to a projection's output."""

    def add(_: torch.nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
        update = F.linear(F.linear(args[0].to(down.dtype), down), up)
        return out + update.to(out.dtype)

    return add


def _embedding_hook(identifier: torch.Tensor, embeddings: torch.Tensor) -> Any:
    """Forward hook that replaces the embeddings of the identifier's tokens, occurrence by occurrence."""

    def replace(_: torch.nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
        ids, length = args[0], len(identifier)
        by_occurrence = embeddings.to(out.dtype).unflatten(0, (-1, length))
        out = out.clone()
        occurrences: Counter[int] = Counter()
        for row, start in (ids.unfold(1, length, 1) == identifier.to(ids.device)).all(-1).nonzero().tolist():
            out[row, start : start + length] = by_occurrence[min(occurrences[row], len(by_occurrence) - 1)]
            occurrences[row] += 1
        return out

    return replace
