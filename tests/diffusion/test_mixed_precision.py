"""Mixed precision: bfloat16 on processors that support it, float32 where it would be emulated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from layoutmark.diffusion import mixed_precision
from layoutmark.diffusion.mixed_precision import bfloat16_autocast, has_bfloat16

CPU = torch.device("cpu")
CPU_INFO = Path("/proc/cpuinfo")


@pytest.mark.parametrize(("has_bfloat16_support", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_dtype_follows_the_processor(
    has_bfloat16_support: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixed_precision, "has_bfloat16", lambda _: has_bfloat16_support)
    layer = torch.nn.Linear(4, 4)
    with bfloat16_autocast(CPU):
        output = layer(torch.ones(2, 4))
    assert output.dtype == expected
    output.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32, "the weights stay in float32"


@pytest.mark.skipif(not CPU_INFO.exists() or "avx2" not in CPU_INFO.read_text(), reason="needs an x86 processor")
def test_support_agrees_with_the_processor_flags() -> None:
    flags = next(line for line in CPU_INFO.read_text().splitlines() if line.startswith("flags")).split()
    assert has_bfloat16(CPU) == ({"avx512bw", "avx512vl", "avx512dq"} <= set(flags))
