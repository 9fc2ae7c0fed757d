"""A personalised model: one subject's own weights, worn by a frozen stack for a while, and the words that call for it.

DreamBooth (arXiv 2208.12242) as a low-rank change of the UNet's attention projections (LoRA, arXiv 2106.09685), called
`sks dog`; Textual Inversion (arXiv 2208.01618) as vectors of its own for the tokens of `sks`, which replaces the noun.
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
"""`none` is the stack as it is, with the class noun."""
IDENTIFIER = "sks"
"""A word that means nothing; a vocabulary may split it."""
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")


@dataclass(frozen=True, eq=False)
class Subject:
    """What a personalisation run has learned.  Nothing of the stack is changed, only added to while worn.

    `lora` holds for each projection the factors `NAME.lora_A.weight` (rank, in) and `NAME.lora_B.weight` (out, rank),
    `vectors` (n, channels) one embedding for each token of the identifier, or (k * n, channels) for its first k
    appearances in a prompt; a backend without them leaves them empty.
    """

    backend: str
    lora: Mapping[str, torch.Tensor] = field(default_factory=dict)
    vectors: torch.Tensor | None = None

    @contextmanager
    def worn(self, unet: UNet2DConditionModel) -> Iterator[None]:
        """Within this block `unet` is the personalised one.  Gradients, too, must be taken inside it."""
        handles = []
        try:
            for key, down in self.lora.items():
                if (name := key.removesuffix(".lora_A.weight")) != key:
                    hook = _adding(down, self.lora[f"{name}.lora_B.weight"])
                    handles.append(unet.get_submodule(name).register_forward_hook(hook))
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def spoken(self, tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel) -> Iterator[None]:
        """Within this block the identifier's tokens have the subject's own vectors."""
        if self.vectors is None:
            yield
            return
        handle = text_encoder.get_input_embeddings().register_forward_hook(
            _replacing(torch.tensor(content_ids(tokenizer, IDENTIFIER)), self.vectors)
        )
        try:
            yield
        finally:
            handle.remove()


def together(subjects: Sequence[Subject]) -> Subject:
    """All of them worn at once: their changes add up, and the k-th appearance of the identifier is that of the k-th."""
    first, *others = subjects
    if not others:
        return first
    lora = {}
    for name in {name: None for subject in subjects for name in subject.lora}:
        # Factors (rank, in) and (out, rank) side by side make the sum of the products.
        side = 0 if name.endswith(".lora_A.weight") else 1
        lora[name] = torch.cat([subject.lora[name] for subject in subjects if name in subject.lora], side)
    vectors = [subject.vectors for subject in subjects if subject.vectors is not None]
    return Subject(first.backend, lora, torch.cat(vectors) if vectors else None)


def new_lora(
    unet: UNet2DConditionModel, rank: int, generator: torch.Generator, within: str = ""
) -> dict[str, torch.Tensor]:
    """Factors for every attention projection below `within`, in float32: A random, B zero, so nothing changes yet."""
    factors = {}
    for name, module in unet.named_modules():
        if not name.startswith(within):
            continue
        if isinstance(module, torch.nn.Linear) and ".attn" in name and name.endswith(PROJECTIONS):
            down = torch.randn(rank, module.in_features, generator=generator) / rank
            factors[f"{name}.lora_A.weight"] = down.to(unet.device)
            factors[f"{name}.lora_B.weight"] = torch.zeros(module.out_features, rank, device=unet.device)
    return factors


@dataclass(frozen=True, slots=True)
class Worded:
    """A prompt that calls for subjects, as token ids without start and end.  Positions count from 1."""

    ids: tuple[int, ...]
    nouns: tuple[range, ...]
    """Where the plain prompt has the class nouns that were called, in its order."""
    calls: tuple[tuple[int, ...], ...]
    """For each of them the positions of the words that mean the subject; what is cut off is left out."""

    def moved(self, positions: Sequence[int]) -> tuple[int, ...]:
        """Where positions of the plain prompt are now: a noun's are its subject's; what is cut off is left out."""
        longer = 0
        for noun, call in zip(self.nouns, self.calls, strict=True):
            if any(p in noun for p in positions):
                return call
            if all(p >= noun.stop for p in positions):
                longer += len(call) - len(noun)
        return tuple(p + longer for p in positions if p + longer <= LAST_CONTENT)


def word(tokenizer: CLIPTokenizer, prompt: str, nouns: Sequence[Sequence[int]], backend: str) -> Worded:
    """Call for subjects where `prompt` has their class nouns, each at consecutive positions; equal ones count once.

    `a red dog` becomes `a red sks dog` for dreambooth and `a red sks` for textual_inversion, and stays for none.
    """
    plain = content_ids(tokenizer, prompt)
    identifier = content_ids(tokenizer, IDENTIFIER)
    ids: list[int] = []
    begun = 0
    places, calls = [], []
    for first, last in sorted({(noun[0], noun[-1]) for noun in nouns}):
        words = plain[first - 1 : last]
        called = {"dreambooth": identifier + words, "textual_inversion": identifier, "none": words}[backend]
        ids += plain[begun : first - 1]
        start = len(ids) + 1
        ids += called
        begun = last
        places.append(range(first, last + 1))
        calls.append(tuple(p for p in range(start, start + len(called)) if p <= LAST_CONTENT))
    return Worded((*ids, *plain[begun:]), tuple(places), tuple(calls))


def photo_of(tokenizer: CLIPTokenizer, category: str, backend: str) -> Worded:
    """`a photo of` the subject."""
    lead = len(content_ids(tokenizer, "a photo of"))
    noun = range(lead + 1, lead + 1 + len(content_ids(tokenizer, category)))
    return word(tokenizer, f"a photo of {category}", [noun], backend)


def encode_worded(stack: Stack, subject: Subject, prompts: Sequence[Worded]) -> torch.Tensor:
    """Embeddings (B, 77, channels) as `encode` gives, but with the subject's vectors; in the graph if there is one."""
    rows = []
    for prompt in prompts:
        kept = [stack.tokenizer.bos_token_id, *prompt.ids[:LAST_CONTENT], stack.tokenizer.eos_token_id]
        rows.append(kept + [stack.tokenizer.pad_token_id] * (POSITIONS - len(kept)))
    with subject.spoken(stack.tokenizer, stack.text_encoder):
        hidden: torch.Tensor = stack.text_encoder(torch.tensor(rows, device=stack.device))[0]
    return hidden


def _adding(down: torch.Tensor, up: torch.Tensor) -> Any:
    def add(_: torch.nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
        change = F.linear(F.linear(args[0].to(down.dtype), down), up)
        return out + change.to(out.dtype)

    return add


def _replacing(wanted: torch.Tensor, vectors: torch.Tensor) -> Any:
    def replace(_: torch.nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
        ids, length = args[0], len(wanted)
        own = vectors.to(out.dtype).unflatten(0, (-1, length))
        out = out.clone()
        seen: Counter[int] = Counter()
        for row, start in (ids.unfold(1, length, 1) == wanted.to(ids.device)).all(-1).nonzero().tolist():
            out[row, start : start + length] = own[min(seen[row], len(own) - 1)]
            seen[row] += 1
        return out

    return replace
