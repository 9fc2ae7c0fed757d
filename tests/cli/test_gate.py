"""`layoutmark gate` on finished runs: exit codes, files, fresh seeds, and refusals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from layoutmark.cli.main import main
from layoutmark.leaderboard import submit
from layoutmark.registry import Registry
from layoutmark.store import RunFolder

BASE_INSTALL = Path(__file__).resolve().parents[1] / "house" / "base_install.py"
SAME, BLIND = (
    ["gate", "tiny:paint", "--baseline", "tiny:paint"],
    ["gate", "tiny:paint@blind", "--baseline", "tiny:paint"],
)


@pytest.fixture
def copy(tiny, working_folder) -> Path:
    """A copy of the tiny run and its store, which a test may write to."""
    shutil.copytree(tiny.home, working_folder / "home")
    shutil.copytree(tiny.runs, working_folder / "runs")
    return working_folder / "runs" / "tiny"


@pytest.fixture
def policy(tmp_path) -> Path:
    """Three prompts prove little: at the usual 5 % not even that nothing changed."""
    path = tmp_path / "gate.toml"
    path.write_text("alpha = 0.2\n[metrics.clip_i]\nmargin = 0.05\n", "utf-8")
    return path


def printed_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    verdict: dict[str, Any] = json.loads(capsys.readouterr().out)
    return verdict


def test_three_prompts_are_too_few_to_decide(copy, capsys) -> None:
    assert main([*SAME, "--json"]) == 2
    verdict = printed_json(capsys)
    assert (verdict["schema"], verdict["outcome"], verdict["exit_code"]) == ("layoutmark-gate-1", "inconclusive", 2)
    assert {m["metric"] for m in verdict["metrics"]} == {"ap50", "miou", "clip_i", "dino", "clip_t", "clip_iqa"}
    assert all("More seeds would not settle it" in reason for reason in verdict["reasons"]), verdict["reasons"]
    assert verdict["pictures"]["sheets"] == [], "no sample lost anything"


def test_gate_passes_equal_runs_and_fails_a_regression(copy, policy, capsys, tmp_path, monkeypatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", "utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    files = ["--junit", str(tmp_path / "a" / "gate.xml"), "--markdown", str(tmp_path / "gate.md")]
    assert main([*SAME, "--policy", str(policy), *files]) == 0
    assert capsys.readouterr().out.endswith("gate: pass\n")
    assert summary.read_text("utf-8") == "before\n" + (tmp_path / "gate.md").read_text("utf-8")
    assert ElementTree.parse(tmp_path / "a" / "gate.xml").getroot()[0].get("failures") == "0"

    assert main([*BLIND, "--policy", str(policy), *files]) == 1
    output = capsys.readouterr().out
    assert "clip_i: worse\n" in output
    assert "--top-up N adds N fresh seeds to confirm the verdict" in output
    assert ElementTree.parse(tmp_path / "a" / "gate.xml").getroot()[0].get("failures") == "1"
    assert sorted(p.name for p in (copy / "gate").iterdir()) == ["01.png", "02.png", "03.png"]


def test_two_files_are_enough_for_a_baseline_and_missing_images_are_counted(copy, policy, capsys, tmp_path) -> None:
    (tmp_path / "kept").mkdir()
    for name in ("results.json", "detections.parquet"):
        shutil.copy(copy / name, tmp_path / "kept")
    command = ["gate", "tiny", "--baseline", str(tmp_path / "kept" / "results.json"), "--method", "paint"]
    assert main([*command, "--policy", str(policy), "--json"]) == 0
    capsys.readouterr()
    command = ["gate", "tiny:paint@blind", "--baseline", str(tmp_path / "kept" / "results.json"), "--method", "paint"]
    assert main([*command, "--policy", str(policy), "--pictures", str(tmp_path / "shown"), "--json"]) == 1
    sheets = printed_json(capsys)["pictures"]
    assert sheets["folder"] == str(tmp_path / "shown")
    assert [s["gone"] for s in sheets["sheets"]] == [1, 1, 1]


def test_an_entry_of_a_leaderboard_is_a_baseline(tiny, copy, policy, capsys, tmp_path) -> None:
    board = tmp_path / "board"
    submit(RunFolder(copy), board, Registry([tiny.methods]), ["paint"])
    (entry,) = (board / "entries").glob("*-paint")
    command = ["gate", "tiny:paint", "--baseline", str(entry), "--policy", str(policy)]
    assert main(command) == 0
    assert main(["gate", "tiny:paint@blind", *command[2:]]) == 1
    out = capsys.readouterr().out
    assert "clip_i: worse\n" in out
    assert "not found, drawn as placeholders; leaderboard entries contain none)" in out
    assert main([*command[:3], str(board), *command[4:]]) == 0, (
        "a leaderboard as baseline means its entry of the candidate's method"
    )
    assert main(["gate", "tiny:paint@blind", "--baseline", str(board)]) == 3
    assert "method of a leaderboard: found 'paint@blind'" in capsys.readouterr().err

    submit(RunFolder(copy), board, Registry([tiny.methods]), ["paint@blind"])
    (blind_entry,) = (board / "entries").glob("*-paint-blind")
    before = sorted(board.rglob("*"))
    assert main(["gate", str(blind_entry), "--baseline", str(entry), "--policy", str(policy)]) == 1
    assert sorted(board.rglob("*")) == before, "an entry stays unchanged"
    assert list((copy.parent / f"gate-{blind_entry.name}").glob("*.png"))

    policy.write_text("[metrics.recall50]\nmargin = 0.05\n", "utf-8")
    assert main(command) == 3
    assert "no score for any of its metrics" in capsys.readouterr().err

    other = json.loads((copy / "results.json").read_text("utf-8"))
    other["protocol"]["parts"]["suite"]["digest"] = "0" * 64
    (copy / "results.json").write_text(json.dumps(other), "utf-8")
    assert main(command) == 3
    assert "suite differ" in capsys.readouterr().err

    (entry / "images.json.gz").write_bytes(b"edited")
    assert main(command) == 3
    assert "leaderboard entry 0003 paint, images.json.gz: found sha256" in capsys.readouterr().err


def test_the_gate_runs_without_torch(tiny, copy, policy) -> None:
    commands = json.dumps([[*SAME, "--policy", str(policy), "--json"], [*BLIND, "--policy", str(policy)]])
    env = {**os.environ, "PYTHONPATH": str(BASE_INSTALL.parents[2] / "bench")}
    process = subprocess.run(
        [sys.executable, str(BASE_INSTALL), commands], env=env, capture_output=True, text=True, check=True
    )
    answers = json.loads(process.stdout.splitlines()[-1])
    assert answers["loaded"] == []
    assert [c["code"] for c in answers["commands"]] == [0, 1], answers


def test_fresh_seeds_confirm_a_regression(tiny, copy, policy, capsys) -> None:
    before = (copy / "results.json").read_bytes()
    options = ["--policy", str(policy), "--top-up", "1", "--json", "--methods-path", str(tiny.methods)]
    assert main([*BLIND, *options]) == 1
    verdict = printed_json(capsys)
    assert (verdict["seeds"], verdict["fresh"]) == ([0, 1], [1])
    assert verdict["reasons"] == ["clip_i: worse, and fresh seeds confirm it"]
    assert verdict["notes"] == ["first stage: regression", "second stage: 1 fresh seed"]
    assert verdict["metrics"][0]["n"] == 6
    assert (copy / "results.json").read_bytes() == before, "the run itself stays unchanged"

    # A baseline that the present code would not reproduce keeps its seeds; only the candidate gets more.
    plan = json.loads((copy / "plan.json").read_text("utf-8"))
    for row in plan["rows"]:
        row["code"] = row["code"] if row["name"] != "paint" else "0" * 64
    (copy / "plan.json").write_text(json.dumps(plan), "utf-8")
    assert main([*BLIND, *options]) == 1
    verdict = printed_json(capsys)
    assert "for the candidate only, paired sample by sample (more seeds of 'paint'" in verdict["notes"][2]
    assert "found changed code; expected those that the run was made with" in verdict["notes"][2]
    assert verdict["reasons"] == ["clip_i: worse, and fresh seeds confirm it"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["gate", "tiny", "--baseline", "tiny:paint"], "run 'tiny': found 2 methods: paint, paint@blind; expected"),
        (["gate", "tiny:pant", "--baseline", "tiny:paint"], "run 'tiny:pant': found no method 'pant'; expected one of"),
        (["gate", "tyni", "--baseline", "tiny:paint"], "unknown run: found 'tyni'"),
        (["gate", "tiny:paint"], "Missing arguments: --baseline. See `layoutmark gate --help`."),
    ],
)  # fmt: skip
def test_refusals(command, message, copy, capsys, tmp_path) -> None:
    assert main([*command, "--junit", str(tmp_path / "gate.xml")]) == 3
    error = capsys.readouterr().err
    assert error.startswith(f"layoutmark: {message}"), error
    assert error.count("\n") == 1
    if "--baseline" in command:
        (error_element,) = ElementTree.parse(tmp_path / "gate.xml").getroot().iter("error")
        assert error_element.get("type") == "unusable"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data["protocol"].pop("parts"), "object 'protocol': found no key 'parts'; expected an object"),
        (lambda data: data["images"][0]["scores"].pop("miou"), "found no 'miou'; expected every metric of the list"),
        (lambda data: data["images"].clear(), "KeyError: 'paint'; expected results as layoutmark writes them"),
        (lambda data: data["protocol"]["parts"]["metrics"].update(miou="0"), "found other versions of miou"),
    ],
)  # fmt: skip
def test_edited_results_are_unusable(damage, message, copy, capsys) -> None:
    data = json.loads((copy / "results.json").read_text("utf-8"))
    damage(data)
    (copy / "results.json").write_text(json.dumps(data), "utf-8")
    assert main(SAME) == 3
    assert message in capsys.readouterr().err


def test_truncated_results_are_unusable(copy, capsys) -> None:
    path = copy / "results.json"
    path.write_bytes(path.read_bytes()[:5000])
    assert main(SAME) == 3
    assert "broken JSON" in capsys.readouterr().err
