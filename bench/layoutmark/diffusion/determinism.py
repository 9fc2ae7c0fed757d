"""Bit-identical results from the same seed, on GPUs too.

GPUs need two measures.  cuDNN may select convolutions, in forward passes too, that sum partial results in a varying
order, and may select them by timing: `configure_determinism` rules out both for the whole process.  Backward passes of
attention, interpolation and indexing sum in a varying order by default: gradients must be taken within
`deterministic_algorithms`.  See `torch.use_deterministic_algorithms` and PyTorch's notes on reproducibility.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""Read by cuBLAS before its first product; older torch versions require it for deterministic algorithms."""


def configure_determinism(device: torch.device) -> None:
    """Make convolutions on a device deterministic, for the whole process; call it before computing anything there.

    cuDNN then selects deterministic algorithms by rule, not by timing.  A value of `CUBLAS_WORKSPACE_CONFIG` in the
    environment is kept.  Does nothing for a CPU.
    """
    if device.type == "cuda":
        os.environ.setdefault(WORKSPACE, ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


@contextmanager
def deterministic_algorithms(device: torch.device) -> Iterator[None]:
    """Within this block torch uses deterministic algorithms only; the previous mode is restored afterwards.

    Forward and backward pass must both be inside: the attention kernel of the forward pass determines that of the
    backward pass.  Does nothing for a CPU, where results are deterministic.  Without it, gradients of attention losses
    on a GPU changed images by one grey level from call to call.

    Raises:
        RuntimeError: from torch, naming an operation that has no deterministic algorithm.
    """
    if device.type != "cuda":
        yield
        return
    was_enabled, was_warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    # A warning would not suffice: fused attention is deterministic only if torch would refuse other kernels.
    torch.use_deterministic_algorithms(True, warn_only=False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was_enabled, warn_only=was_warn_only)
