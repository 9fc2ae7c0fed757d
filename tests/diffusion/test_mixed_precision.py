"""Mixed precision: bfloat16 where the processor has it, single precision where it would be emulated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from layoutmark.diffusion import mixed_precision as module
from layoutmark.diffusion.mixed_precision import has_bfloat16, mixed

CPU = torch.device("cpu")
FACTS = Path("/proc/cpuinfo")


@pytest.mark.parametrize(("has", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_arithmetic_follows_the_processor(has: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "has_bfloat16", lambda _: has)
    layer = torch.nn.Linear(4, 4)
    with mixed(CPU):
        found = layer(torch.ones(2, 4))
    assert found.dtype == expected
    found.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32, "the weights stay single"


@pytest.mark.skipif(not FACTS.exists() or "avx2" not in FACTS.read_text(), reason="no x86 processor told by the system")
def test_the_answer_is_the_processors() -> None:
    flags = next(line for line in FACTS.read_text().splitlines() if line.startswith("flags")).split()
    assert has_bfloat16(CPU) == ({"avx512bw", "avx512vl", "avx512dq"} <= set(flags))
