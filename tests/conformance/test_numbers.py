"""Every method draws in half precision, and on a GPU where there is one: finite pictures, the same twice, no traces."""

from __future__ import annotations

import pytest
import torch

from layoutmark.conformance import CHECKS, Outcome, candidate_of, run_check
from layoutmark.errors import LayoutmarkError
from layoutmark.registry import Registry

METHODS = sorted(Registry().methods())
QUICK = ("no_instances", "one_instance")
"""The checks that see a number that is not finite: the others do not depend on the numbers."""


def faults(name: str, dtype: str, device: str = "cpu", checks: tuple[str, ...] = QUICK) -> dict[str, str]:
    candidate = candidate_of(Registry().get_method(name), "tiny", dtype=dtype, device=device)
    assert {p.dtype for p in candidate.stack.unet.parameters()} == {candidate.stack.dtype}
    found = {check: run_check(CHECKS[check], candidate) for check in checks}
    return {check: v.reason for check, v in found.items() if v.outcome is Outcome.FAILED}


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_draws_in_half_precision(name: str, dtype: str) -> None:
    assert faults(name, dtype) == {}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_passes_everything_in_half_precision(name: str, dtype: str) -> None:
    assert faults(name, dtype, checks=tuple(CHECKS)) == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_passes_everything_on_a_gpu(name: str, dtype: str) -> None:
    assert faults(name, dtype, "cuda", tuple(CHECKS)) == {}


def test_other_numbers_are_refused() -> None:
    with pytest.raises(LayoutmarkError, match=r"unknown dtype: found 'fp8'; expected one of bf16, fp16, fp32"):
        candidate_of(Registry().get_method("base"), "tiny", dtype="fp8")
