"""Every method works in half precision, and on a GPU if there is one."""

from __future__ import annotations

import pytest
import torch

from layoutmark.conformance import CHECKS, Outcome, make_candidate, run_check
from layoutmark.errors import LayoutmarkError
from layoutmark.registry import Registry

METHODS = sorted(Registry().methods())
QUICK_CHECKS = ("no_instances", "one_instance")
"""Checks that detect values that are not finite; the other checks do not depend on the precision."""


def faults(name: str, dtype: str, device: str = "cpu", checks: tuple[str, ...] = QUICK_CHECKS) -> dict[str, str]:
    candidate = make_candidate(Registry().get_method(name), "tiny", dtype=dtype, device=device)
    assert {p.dtype for p in candidate.stack.unet.parameters()} == {candidate.stack.dtype}
    verdicts = {check: run_check(CHECKS[check], candidate) for check in checks}
    return {check: v.reason for check, v in verdicts.items() if v.outcome is Outcome.FAILED}


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("name", METHODS)
def test_method_generates_in_half_precision(name: str, dtype: str) -> None:
    assert faults(name, dtype) == {}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("name", METHODS)
def test_method_passes_all_checks_in_half_precision(name: str, dtype: str) -> None:
    assert faults(name, dtype, checks=tuple(CHECKS)) == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", METHODS)
def test_method_passes_all_checks_on_a_gpu(name: str, dtype: str) -> None:
    assert faults(name, dtype, "cuda", tuple(CHECKS)) == {}


def test_unknown_dtype_is_refused() -> None:
    with pytest.raises(LayoutmarkError, match=r"unknown dtype: found 'fp8'; expected one of bf16, fp16, fp32"):
        make_candidate(Registry().get_method("base"), "tiny", dtype="fp8")
