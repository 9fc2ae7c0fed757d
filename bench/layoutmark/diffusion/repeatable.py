"""The same numbers from the same seed on a GPU too: backward passes add in whatever order threads end, unless told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""Read by cuBLAS before its first product; torch refuses to promise repeatable ones without it."""


def promise(device: torch.device) -> None:
    """Prepare a device for `repeatable`, before anything is computed on it; an environment that says more stands."""
    if device.type == "cuda":
        os.environ.setdefault(WORKSPACE, ":4096:8")


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Within this block torch takes only algorithms that repeat themselves bit for bit; before and after as it was.

    On a CPU nothing changes: its results repeat themselves.  Seen without it on a GPU: gradients of attention losses
    that move a picture by one grey level from one call to the next.

    Raises:
        RuntimeError: from torch, by name, for an operation that has no such algorithm.
    """
    if device.type != "cuda":
        yield
        return
    before, only_warned = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warned)
