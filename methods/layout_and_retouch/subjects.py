"""Store of subject adapters by content: trained once per subject, backend, recipe and stack, and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

from safetensors.torch import save

from layoutmark import atomic
from layoutmark.diffusion.stack import Stack
from layoutmark.diffusion.weights import read_tensors, working_folder
from layoutmark.layout import Reference
from layoutmark.provenance import digest, digest_pixels

from .personal import SubjectAdapter
from .personal_training import find_recipe, train_subject

VECTORS = "vectors"
"""Name of the token embeddings in a stored file."""
UNET = "unet."
"""Prefix of the names of LoRA factors in a stored file, as in diffusers."""


class SubjectStore:
    """Subjects of one stack and backend, stored in the folder `subjects` of the working data.

    It is a `layoutmark.api.Personaliser`.
    """

    def __init__(self, stack: Stack, backend: str) -> None:
        self.stack = stack
        self.backend = backend

    def key(self, references: Sequence[Reference], category: str) -> str:
        """sha256 (hex) over everything that the training of a subject depends on."""
        reference_digests = [
            [digest_pixels(r.image), None if r.mask is None else digest_pixels(r.mask.astype("uint8"))]
            for r in references
        ]
        return digest(
            {
                "references": reference_digests, "category": category, "backend": self.backend,
                "recipe": asdict(find_recipe(self.backend, self.stack)), "stack": self._stack_digest,
            }
        )  # fmt: skip

    def find(self, references: Sequence[Reference], category: str) -> SubjectAdapter | None:
        """The subject's adapter, or None if it still has to be trained.  Raises LayoutmarkError for a damaged file."""
        if self.backend == "none":
            return SubjectAdapter(self.backend)
        path = self._file(self.key(references, category))
        if not path.is_file():
            return None
        tensors = {name: tensor.to(self.stack.device) for name, tensor in read_tensors(path).items()}
        token_embeddings = tensors.pop(VECTORS, None)
        lora = {name.removeprefix(UNET): tensor for name, tensor in tensors.items()}
        return SubjectAdapter(self.backend, lora, token_embeddings)

    def train(self, references: Sequence[Reference], category: str) -> SubjectAdapter:
        """Train the subject's adapter and store it."""
        recipe = find_recipe(self.backend, self.stack)
        adapter = train_subject(self.stack, references, category, self.backend, recipe)
        tensors = {UNET + name: tensor for name, tensor in adapter.lora.items()}
        if adapter.token_embeddings is not None:
            tensors[VECTORS] = adapter.token_embeddings
        data = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
        atomic.write_bytes(self._file(self.key(references, category)), data)
        return adapter

    def _file(self, key: str) -> Path:
        return working_folder("subjects") / f"{key}.safetensors"

    @cached_property
    def _stack_digest(self) -> str:
        """sha256 (hex) over all weights of the stack, which has no identifier of its own."""
        hasher = hashlib.sha256()
        for model in (self.stack.unet, self.stack.text_encoder, self.stack.vae):
            for name, tensor in sorted(model.state_dict().items()):
                hasher.update(name.encode())
                hasher.update(tensor.detach().cpu().float().numpy().tobytes())
        return hasher.hexdigest()
