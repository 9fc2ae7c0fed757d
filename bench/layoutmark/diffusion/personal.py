"""A personalised model: one subject's own weights, worn by a frozen stack for a while, and the words that call for it.

DreamBooth (arXiv 2208.12242) as a low-rank change of the UNet's attention projections (LoRA, arXiv 2106.09685), called
`sks dog`; Textual Inversion (arXiv 2208.01618) as vectors of its own for the tokens of `sks`, which replaces the noun.
"""

from __future__ import annotations

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
    `vectors` (n, channels) one embedding for each token of the identifier; a backend without them leaves them empty.
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


def new_lora(unet: UNet2DConditionModel, rank: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Factors for every attention projection of `unet`, in float32: A random, B zero, so nothing changes yet."""
    factors = {}
    for name, module in unet.named_modules():
        if isinstance(module, torch.nn.Linear) and ".attn" in name and name.endswith(PROJECTIONS):
            down = torch.randn(rank, module.in_features, generator=generator) / rank
            factors[f"{name}.lora_A.weight"] = down.to(unet.device)
            factors[f"{name}.lora_B.weight"] = torch.zeros(module.out_features, rank, device=unet.device)
    return factors


@dataclass(frozen=True, slots=True)
class Worded:
    """A prompt as token ids without start and end, and the positions (from 1) of the words that mean the subject."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    noun: range
    """Where the plain prompt has the class noun."""
    longer: int
    """How many tokens more this prompt has."""

    def moved(self, positions: Sequence[int]) -> tuple[int, ...]:
        """Where positions of the plain prompt are now: the noun's are the subject's; what is cut off is left out."""
        if any(p in self.noun for p in positions):
            return self.positions
        now = (p + self.longer if p >= self.noun.stop else p for p in positions)
        return tuple(p for p in now if p <= LAST_CONTENT)


def word(tokenizer: CLIPTokenizer, prompt: str, noun: Sequence[int], backend: str) -> Worded:
    """Call for the subject where `prompt` has its class noun at the consecutive positions `noun`.

    `a red dog` becomes `a red sks dog` for dreambooth and `a red sks` for textual_inversion, and stays for none.
    """
    ids = content_ids(tokenizer, prompt)
    plain = range(noun[0], noun[-1] + 1)
    words = ids[noun[0] - 1 : noun[-1]]
    called = {
        "dreambooth": content_ids(tokenizer, IDENTIFIER) + words,
        "textual_inversion": content_ids(tokenizer, IDENTIFIER),
        "none": words,
    }[backend]
    positions = range(noun[0], min(noun[0] + len(called), LAST_CONTENT + 1))
    worded = (*ids[: noun[0] - 1], *called, *ids[noun[-1] :])
    return Worded(worded, tuple(positions), plain, len(called) - len(words))


def photo_of(tokenizer: CLIPTokenizer, category: str, backend: str) -> Worded:
    """`a photo of` the subject."""
    lead = len(content_ids(tokenizer, "a photo of"))
    noun = range(lead + 1, lead + 1 + len(content_ids(tokenizer, category)))
    return word(tokenizer, f"a photo of {category}", noun, backend)


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
        out = out.clone()
        for row, start in (ids.unfold(1, length, 1) == wanted.to(ids.device)).all(-1).nonzero().tolist():
            out[row, start : start + length] = vectors.to(out.dtype)
        return out

    return replace
