"""Repeatable results on a GPU: when torch is told to promise them.  Whether it keeps it only a GPU shows."""

from __future__ import annotations

import os

import pytest
import torch

from layoutmark.diffusion.repeatable import WORKSPACE, promise, repeatable

GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize(("device", "told"), [(GPU, True), (CPU, False)])
def test_torch_is_told_within_the_block_alone(device: torch.device, told: bool) -> None:
    with repeatable(device):
        assert torch.are_deterministic_algorithms_enabled() is told
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_a_caller_had_asked_for_is_back_after_an_error() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with pytest.raises(ValueError, match="no"), repeatable(GPU):
            raise ValueError("no")
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_environment_is_prepared_for_a_gpu_and_never_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WORKSPACE, raising=False)
    promise(CPU)
    assert WORKSPACE not in os.environ
    promise(GPU)
    assert os.environ[WORKSPACE] == ":4096:8"
    monkeypatch.setenv(WORKSPACE, ":16:8")
    promise(GPU)
    assert os.environ[WORKSPACE] == ":16:8"
