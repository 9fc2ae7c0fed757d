"""Results that somebody truncated, edited or wrote with another version, as the commands meet them."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layoutmark.cli.main import main


@pytest.fixture
def copy(at_tiny, tmp_path, monkeypatch) -> Path:
    """A copy of the tiny run that a test may spoil."""
    shutil.copytree(at_tiny.runs, tmp_path / "runs")
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs" / "tiny"


def edit(run: Path, change: Callable[[Any], Any]) -> None:
    path = run / "results.json"
    data = json.loads(path.read_text("utf-8"))
    change(data)
    path.write_text(json.dumps(data), "utf-8")


DAMAGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "value as text": (lambda d: d["rows"][0].update(value="0.99"), "rows[0], key 'value': found a text '0.99'"),
    "worst as text": (lambda d: d["rows"][0].update(worst="bad"), "rows[0], key 'worst': found a text 'bad'"),
    "more scored than asked": (lambda d: d["rows"][1].update(n=99), "rows[1]: found n 99 of 3; expected 0 <= n <= of"),
    "row of nobody": (lambda d: d["rows"][0].update(method="best"), "rows[0]: found method 'best'"),
    "image of nothing": (lambda d: d["images"][0].update(sample="x"), "images[0]: found"),
    "part cut out": (lambda d: d.pop("pairs"), "no key 'pairs'"),
    "protocol without its hash": (lambda d: d["protocol"].pop("hash"), "protocol: found no key 'hash'"),
    "list as object": (lambda d: d.update(samples={}), "key 'samples': found an object; expected a list"),
}


@pytest.mark.parametrize(
    "command", [["report"], ["report", "--kind", "markdown"], ["leaderboard", "submit"]], ids=" ".join
)
@pytest.mark.parametrize("name", DAMAGES)
def test_edited_results_are_refused_with_the_place(copy, capsys, command, name) -> None:
    change, said = DAMAGES[name]
    edit(copy, change)
    assert main([*command, "tiny"]) == 3
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", [["report"], ["compare"], ["leaderboard", "submit"]], ids=" ".join)
def test_truncated_results_are_refused(copy, capsys, command) -> None:
    path = copy / "results.json"
    path.write_bytes(path.read_bytes()[:-2000])
    assert main([*command, "tiny"]) == 3
    assert "found broken JSON at line" in capsys.readouterr().err


def test_the_command_that_is_named_brings_old_results_up_to_date(at_tiny, copy, capsys) -> None:
    edit(copy, lambda d: d.update(schema="layoutmark-results-0"))
    assert main(["report", "tiny"]) == 3
    error = capsys.readouterr().err
    named = error.strip().rpartition("this version: layoutmark ")[2]
    assert shlex.split(named) == ["measure", str(copy)]
    assert main([*shlex.split(named), "--methods-path", str(at_tiny.methods)]) == 0
    assert main(["report", "tiny"]) == 0
    fresh = json.loads((copy / "results.json").read_text("utf-8"))
    assert fresh["schema"] == "layoutmark-results-1"
    capsys.readouterr()


def test_newer_results_name_the_update(copy, capsys) -> None:
    edit(copy, lambda d: d.update(schema="layoutmark-results-2"))
    for command in (["report", "tiny"], ["compare", "tiny"], ["gate", "tiny:paint", "--baseline", "tiny:paint"]):
        assert main(command) == 3
        assert "pip install --upgrade layoutmark" in capsys.readouterr().err


def test_mixed_versions_of_metrics_name_the_command(copy, capsys) -> None:
    edit(copy, lambda d: d["protocol"]["parts"]["metrics"].update(miou="0"))
    assert main(["gate", "tiny:paint", "--baseline", "tiny:paint"]) == 3
    assert f"layoutmark measure {copy}" in capsys.readouterr().err


def test_runs_of_mixed_versions_name_the_commands(copy, capsys) -> None:
    other = Path(shutil.copytree(copy, copy.with_name("other")))

    def older(data: Any) -> None:
        data["protocol"]["hash"] = "0" * 16
        data["protocol"]["parts"]["code"]["metrics"] = "0" * 64

    edit(other, older)
    assert main(["compare", "tiny", "other"]) == 3
    error = capsys.readouterr().err
    assert "code differ" in error
    assert f"layoutmark measure {copy} and layoutmark measure {other}" in error
