"""Recipe of `layoutmark personalise`; paper mode and box variant share their subjects."""

from __future__ import annotations

from layoutmark.diffusion import Stack

from .subjects import SubjectStore


def personaliser(stack: Stack, backend: str) -> SubjectStore:
    """The subjects of a stack and backend.  Training with an unknown backend raises LayoutmarkError."""
    return SubjectStore(stack, backend)
