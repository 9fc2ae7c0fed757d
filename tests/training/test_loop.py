"""The training loop: an interrupted training ends exactly where an uninterrupted one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from layoutmark.errors import LayoutmarkError
from layoutmark.training.distributed import SINGLE_PROCESS, ProcessGroup
from layoutmark.training.loop import constant, cosine, train, update_average

STEPS = 6


def run(folder: Path, *, stop_at: int | None = None) -> dict[str, torch.nn.Module]:
    """Six steps of a small regression; `stop_at` raises at that step, like an interruption."""
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
        after_step=lambda step: update_average(modules["kept"], model[0], 0.5),
    )  # fmt: skip
    return modules


def test_resumed_training_equals_uninterrupted_training(tmp_path: Path) -> None:
    uninterrupted = run(tmp_path / "uninterrupted")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", stop_at=4)
    assert torch.load(tmp_path / "broken" / "small.pt", weights_only=True)["step"] == 3
    resumed = run(tmp_path / "broken")
    for name, module in uninterrupted.items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, resumed[name].state_dict()[key]), (name, key)


def test_later_steps_change_the_weights(tmp_path: Path) -> None:
    """Weights after half of the steps differ, so the equality above is meaningful."""
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


def train_regression(
    folder: Path, *, accumulate: int = 1, group: ProcessGroup = SINGLE_PROCESS, name: str = "regression"
) -> torch.Tensor:
    """Weights after four steps of a regression."""
    torch.manual_seed(5)
    model = torch.nn.Linear(4, 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)

    def step_loss(_: int, generator: torch.Generator) -> torch.Tensor:
        x = torch.randn(8, 4, generator=generator)
        loss: torch.Tensor = (model(x)[:, 0] - x.sum(1)).square().mean()
        return loss

    train(
        name, 4, {"model": model}, optimiser, step_loss, folder=folder, seed=3, rate=1e-2, warmup=0,
        accumulate=accumulate, group=group, schedule=constant,
    )  # fmt: skip
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    one, two = train_regression(tmp_path / "one"), train_regression(tmp_path / "two", accumulate=2)
    assert not torch.equal(one, two)  # twice as many batches
    # By hand: AdamW on the mean loss of batches 0 and 1, then of 2 and 3, and so on.
    torch.manual_seed(5)
    model = torch.nn.Linear(4, 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(4):
        optimiser.zero_grad()
        for number in (2 * step, 2 * step + 1):
            x = torch.randn(8, 4, generator=torch.Generator().manual_seed(3 * 1_000_003 + number))
            ((model(x)[:, 0] - x.sum(1)).square().mean() / 2).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    assert torch.equal(two, torch.cat([p.detach().flatten() for p in model.parameters()]))


def test_resuming_with_other_options_is_refused(tmp_path: Path) -> None:
    train_regression(tmp_path)
    with pytest.raises(
        LayoutmarkError, match=r"checkpoint 'regression.pt': found accumulate 1; expected 2\. Resume with"
    ):
        train_regression(tmp_path, accumulate=2)


def test_constant_curve() -> None:
    assert [constant(step, 10, 4) for step in (0, 1, 3, 4, 9)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    assert constant(0, 10, 0) == 1.0


@pytest.mark.slow
def test_two_processes_take_the_batches_that_one_accumulates(tmp_path: Path) -> None:
    """Real processes of accelerate on the CPU."""
    script = tmp_path / "member.py"
    script.write_text(
        "import sys, torch\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from test_loop import train_regression\n"
        "from layoutmark.training.distributed import join_process_group\n"
        "group = join_process_group()\n"
        "assert group.size == 2 and group.device.startswith('cpu')\n"
        f"weights = train_regression(Path({str(tmp_path)!r}), group=group, name='team')\n"
        f"torch.save(weights, Path({str(tmp_path)!r}) / f'{{group.rank}}.pt')\n"
    )
    environment = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29577", "ACCELERATE_USE_CPU": "true"}
    members = [
        subprocess.Popen(
            [sys.executable, script], env=os.environ | environment | {"RANK": str(n), "LOCAL_RANK": str(n)}
        )
        for n in range(2)
    ]
    assert [member.wait(timeout=500) for member in members] == [0, 0]
    first, second = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in range(2))
    assert torch.equal(first, second)
    torch.testing.assert_close(first, train_regression(tmp_path / "alone", accumulate=2), rtol=1e-6, atol=1e-7)
