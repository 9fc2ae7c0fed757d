"""The shared loop: a training that was stopped ends exactly where an unbroken one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from layoutmark.errors import LayoutmarkError
from layoutmark.training.distributed import ALONE, Team
from layoutmark.training.loop import average, constant, cosine, train

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


def gathered(folder: Path, *, accumulate: int = 1, team: Team = ALONE, name: str = "gathered") -> torch.Tensor:
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
        accumulate=accumulate, team=team, curve=constant,
    )  # fmt: skip
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    one, two = gathered(tmp_path / "one"), gathered(tmp_path / "two", accumulate=2)
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


def test_going_on_with_other_options_is_refused(tmp_path: Path) -> None:
    gathered(tmp_path)
    with pytest.raises(LayoutmarkError, match=r"checkpoint 'gathered.pt': found accumulate 1; expected 2\. Go on with"):
        gathered(tmp_path, accumulate=2)


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
        "from test_loop import gathered\n"
        "from layoutmark.training.distributed import assemble\n"
        "team = assemble()\n"
        "assert team.size == 2 and team.device.startswith('cpu')\n"
        f"weights = gathered(Path({str(tmp_path)!r}), team=team, name='team')\n"
        f"torch.save(weights, Path({str(tmp_path)!r}) / f'{{team.rank}}.pt')\n"
    )
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29577", "ACCELERATE_USE_CPU": "true"}
    members = [
        subprocess.Popen([sys.executable, script], env=os.environ | together | {"RANK": str(n), "LOCAL_RANK": str(n)})
        for n in range(2)
    ]
    assert [member.wait(timeout=500) for member in members] == [0, 0]
    first, second = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in range(2))
    assert torch.equal(first, second)
    torch.testing.assert_close(first, gathered(tmp_path / "alone", accumulate=2), rtol=1e-6, atol=1e-7)
