"""Personalised subjects by content: trained once for each reference, backend, recipe and stack, and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

from safetensors.torch import save

from layoutmark import atomic
from layoutmark.diffusion.stack import Stack
from layoutmark.diffusion.weights import read_tensors
from layoutmark.layout import Reference
from layoutmark.provenance import digest, digest_pixels
from layoutmark.store import folders as home

from .personal import Subject
from .personal_training import personal_recipe, train_subject

VECTORS = "vectors"
UNET = "unet."
"""Before the names of LoRA factors, as diffusers writes them."""


class Subjects:
    """The subjects of one stack and backend, below `subjects` in the working data."""

    def __init__(self, stack: Stack, backend: str) -> None:
        self.stack = stack
        self.backend = backend

    def key(self, references: Sequence[Reference], category: str) -> str:
        """64 hex digits over everything that the training of a subject sees."""
        shown = [
            [digest_pixels(r.image), None if r.mask is None else digest_pixels(r.mask.astype("uint8"))]
            for r in references
        ]
        return digest(
            {
                "references": shown, "category": category, "backend": self.backend,
                "recipe": asdict(personal_recipe(self.backend, self.stack)), "stack": self._stack_digest,
            }
        )  # fmt: skip

    def find(self, references: Sequence[Reference], category: str) -> Subject | None:
        """The subject if it needs no training or was trained before.  Raises LayoutmarkError if its file is damaged."""
        if self.backend == "none":
            return Subject(self.backend)
        path = self._file(self.key(references, category))
        if not path.is_file():
            return None
        tensors = {name: tensor.to(self.stack.device) for name, tensor in read_tensors(path).items()}
        vectors = tensors.pop(VECTORS, None)
        return Subject(self.backend, {name.removeprefix(UNET): t for name, t in tensors.items()}, vectors)

    def make(self, references: Sequence[Reference], category: str) -> Subject:
        """Train the subject and keep it."""
        recipe = personal_recipe(self.backend, self.stack)
        subject = train_subject(self.stack, references, category, self.backend, recipe)
        tensors = {UNET + name: tensor for name, tensor in subject.lora.items()}
        if subject.vectors is not None:
            tensors[VECTORS] = subject.vectors
        data = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
        atomic.write_bytes(self._file(self.key(references, category)), data)
        return subject

    def _file(self, key: str) -> Path:
        return home() / "subjects" / f"{key}.safetensors"

    @cached_property
    def _stack_digest(self) -> str:
        """sha256 over every weight of the stack: it does not say where it came from."""
        seen = hashlib.sha256()
        for model in (self.stack.unet, self.stack.text_encoder, self.stack.vae):
            for name, tensor in sorted(model.state_dict().items()):
                seen.update(name.encode())
                seen.update(tensor.detach().cpu().float().numpy().tobytes())
        return seen.hexdigest()
