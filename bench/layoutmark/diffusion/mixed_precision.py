"""Mixed-precision training on devices with native bfloat16 instructions."""

from __future__ import annotations

import torch


def bfloat16_autocast(device: torch.device) -> torch.autocast:
    """Autocast to bfloat16 with float32 weights; disabled where bfloat16 would be emulated.

    Emulation is many times slower than float32: on a CPU with AVX2 only, a product of 512 x 512 matrices takes 203 ms
    instead of 1.8 ms, and a training step over 3 s instead of 0.7 s.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16(device))


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has native bfloat16 instructions."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # oneDNN's own check of the CPU; torch has no public function for it.
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
