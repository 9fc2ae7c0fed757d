"""The shared loop: a training that was stopped ends exactly where an unbroken one does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from layoutmark.training.loop import average, cosine, train

STEPS = 6


def run(folder: Path, *, stop_at: int | None = None) -> dict[str, torch.nn.Module]:
    """Six steps of a small regression with dropped-in noise; `stop_at` raises there, as a kill would."""
    torch.manual_seed(5)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1))
    modules = {"model": model, "kept": torch.nn.Linear(4, 8)}
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)

    def step_loss(step: int, generator: torch.Generator) -> torch.Tensor:
        if step == stop_at:
            raise KeyboardInterrupt
        x = torch.randn(8, 4, generator=generator)
        loss: torch.Tensor = (model(x)[:, 0] - x.sum(1)).square().mean()
        return loss

    train(
        "small", STEPS, modules, optimiser, step_loss, folder=folder, seed=3, rate=1e-2, warmup=2, checkpoint_every=3,
        after=lambda step: average(modules["kept"], model[0], 0.5),
    )  # fmt: skip
    return modules


def test_resumed_equals_unbroken(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", stop_at=4)
    assert torch.load(tmp_path / "broken" / "small.pt", weights_only=True)["step"] == 3
    resumed = run(tmp_path / "broken")
    for name, module in whole.items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, resumed[name].state_dict()[key]), (name, key)


def test_steps_differ(tmp_path: Path) -> None:
    """The twin: without the second half the weights are others, so equality above says something."""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_at=4)
    half = torch.load(tmp_path / "small.pt", weights_only=True)["modules"]["model"]["0.weight"]
    assert not torch.equal(half, run(tmp_path)["model"].state_dict()["0.weight"])


def test_learning_rate_curve() -> None:
    factors = [cosine(step, 100, 10) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == 1.0
    assert factors[:10] == sorted(factors[:10])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert cosine(100, 100, 10) == pytest.approx(0.05)
