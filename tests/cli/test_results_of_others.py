"""Commands given results that were truncated, edited or written by another version."""

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
def run(active_tiny_run, tmp_path, monkeypatch) -> Path:
    """A copy of the tiny run that a test may damage."""
    shutil.copytree(active_tiny_run.runs, tmp_path / "runs")
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs" / "tiny"


def edit(run: Path, change: Callable[[Any], Any]) -> None:
    path = run / "results.json"
    data = json.loads(path.read_text("utf-8"))
    change(data)
    path.write_text(json.dumps(data), "utf-8")


EDITS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "value as string": (lambda d: d["rows"][0].update(value="0.99"), "key 'rows[0].value': found a string '0.99'"),
    "worst as string": (lambda d: d["rows"][0].update(worst="bad"), "key 'rows[0].worst': found a string 'bad'"),
    "more scored than requested": (
        lambda d: d["rows"][1].update(n=99),
        "rows[1]: found n 99 of 3; expected 0 <= n <= of",
    ),
    "row of an unknown method": (lambda d: d["rows"][0].update(method="best"), "rows[0]: found method 'best'"),
    "image of an unknown sample": (lambda d: d["images"][0].update(sample="x"), "images[0]: found"),
    "missing list": (lambda d: d.pop("pairs"), "no key 'pairs'"),
    "protocol without its hash": (lambda d: d["protocol"].pop("hash"), "object 'protocol': found no key 'hash'"),
    "list as object": (lambda d: d.update(samples={}), "key 'samples': found an object; expected a list"),
}


@pytest.mark.parametrize(
    "command", [["report"], ["report", "--kind", "markdown"], ["leaderboard", "submit"]], ids=" ".join
)
@pytest.mark.parametrize("name", EDITS)
def test_edited_results_are_refused_with_their_location(run, capsys, command, name) -> None:
    change, message = EDITS[name]
    edit(run, change)
    assert main([*command, "tiny"]) == 3
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", [["report"], ["compare"], ["leaderboard", "submit"]], ids=" ".join)
def test_truncated_results_are_refused(run, capsys, command) -> None:
    path = run / "results.json"
    path.write_bytes(path.read_bytes()[:-2000])
    assert main([*command, "tiny"]) == 3
    assert "found broken JSON at line" in capsys.readouterr().err


def test_the_named_command_updates_old_results(active_tiny_run, run, capsys) -> None:
    edit(run, lambda d: d.update(schema="layoutmark-results-0"))
    assert main(["report", "tiny"]) == 3
    error = capsys.readouterr().err
    advice = error.strip().rpartition("this version: layoutmark ")[2]
    assert shlex.split(advice) == ["measure", str(run)]
    assert main([*shlex.split(advice), "--methods-path", str(active_tiny_run.methods)]) == 0
    assert main(["report", "tiny"]) == 0
    results = json.loads((run / "results.json").read_text("utf-8"))
    assert results["schema"] == "layoutmark-results-1"
    capsys.readouterr()


def test_newer_results_name_the_update(run, capsys) -> None:
    edit(run, lambda d: d.update(schema="layoutmark-results-2"))
    for command in (["report", "tiny"], ["compare", "tiny"], ["gate", "tiny:paint", "--baseline", "tiny:paint"]):
        assert main(command) == 3
        assert "pip install --upgrade layoutmark" in capsys.readouterr().err


def test_mixed_versions_of_metrics_name_the_command(run, capsys) -> None:
    edit(run, lambda d: d["protocol"]["parts"]["metrics"].update(miou="0"))
    assert main(["gate", "tiny:paint", "--baseline", "tiny:paint"]) == 3
    assert f"layoutmark measure {run}" in capsys.readouterr().err


def test_runs_of_mixed_versions_name_the_commands(run, capsys) -> None:
    other = Path(shutil.copytree(run, run.with_name("other")))

    def change_code_digest(data: Any) -> None:
        data["protocol"]["hash"] = "0" * 16
        data["protocol"]["parts"]["code"]["metrics"] = "0" * 64

    edit(other, change_code_digest)
    assert main(["compare", "tiny", "other"]) == 3
    error = capsys.readouterr().err
    assert "code differ" in error
    assert f"layoutmark measure {run} and layoutmark measure {other}" in error
