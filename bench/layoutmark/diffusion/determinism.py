"""The same numbers from the same seed on a GPU too.

Two things are needed there.  cuDNN may pick convolutions, forward ones among them, whose parts are added in the order
in which threads end, or pick by a race against the clock: `promise` rules both out for the whole process.  Backward
passes of attention, interpolation and indexing add in any order unless torch is told otherwise: a gradient is taken
within `repeatable`.  What torch promises: `torch.use_deterministic_algorithms` and its notes on reproducibility.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""Read by cuBLAS before its first product; older versions of torch refuse to promise repeatable ones without it."""


def promise(device: torch.device) -> None:
    """Prepare a device before anything is computed on it, for the whole process.

    cuDNN takes algorithms that repeat themselves, chosen by rule and not by trial.  An environment that says more of
    cuBLAS stands.  On a CPU nothing is done.
    """
    if device.type == "cuda":
        os.environ.setdefault(WORKSPACE, ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Within this block torch takes only algorithms that repeat themselves bit for bit; before and after as it was.

    Forward and backward pass belong inside together: which attention is taken forward decides how it goes back.  On a
    CPU nothing changes: its results repeat themselves.  Seen without it on a GPU: gradients of attention losses
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
    # Not merely warned: fused attention keeps to one order of adding only if torch would refuse another.
    torch.use_deterministic_algorithms(True, warn_only=False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warned)
