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
def copy(tiny, places) -> Path:
    """A copy of the tiny run and its store, which a test may write to."""
    shutil.copytree(tiny.home, places / "home")
    shutil.copytree(tiny.runs, places / "runs")
    return places / "runs" / "tiny"


@pytest.fixture
def policy(tmp_path) -> Path:
    """Three prompts prove little: at the usual 5 % not even that nothing changed."""
    path = tmp_path / "gate.toml"
    path.write_text("alpha = 0.2\n[metrics.clip_i]\nmargin = 0.05\n", "utf-8")
    return path


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_three_prompts_are_too_few_to_tell(copy, capsys) -> None:
    assert main([*SAME, "--json"]) == 2
    found = said(capsys)
    assert (found["schema"], found["outcome"], found["exit_code"]) == ("layoutmark-gate-1", "inconclusive", 2)
    assert {m["metric"] for m in found["metrics"]} == {"ap50", "miou", "clip_i", "dino", "clip_t", "clip_iqa"}
    assert all("more seeds would not decide it" in reason for reason in found["reasons"]), found["reasons"]
    assert found["pictures"]["sheets"] == [], "nothing lost anything"


def test_it_passes_and_fails(copy, policy, capsys, tmp_path, monkeypatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", "utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    files = ["--junit", str(tmp_path / "a" / "gate.xml"), "--markdown", str(tmp_path / "gate.md")]
    assert main([*SAME, "--policy", str(policy), *files]) == 0
    assert capsys.readouterr().out.endswith("gate: pass\n")
    assert summary.read_text("utf-8") == "before\n" + (tmp_path / "gate.md").read_text("utf-8")
    assert ElementTree.parse(tmp_path / "a" / "gate.xml").getroot()[0].get("failures") == "0"

    assert main([*BLIND, "--policy", str(policy), *files]) == 1
    shown = capsys.readouterr().out
    assert "clip_i: worse\n" in shown
    assert "--top-up N asks N fresh seeds to confirm it" in shown
    assert ElementTree.parse(tmp_path / "a" / "gate.xml").getroot()[0].get("failures") == "1"
    assert sorted(p.name for p in (copy / "gate").iterdir()) == ["01.png", "02.png", "03.png"]


def test_a_baseline_of_two_files_is_enough_and_lost_pictures_are_counted(copy, policy, capsys, tmp_path) -> None:
    (tmp_path / "kept").mkdir()
    for name in ("results.json", "detections.parquet"):
        shutil.copy(copy / name, tmp_path / "kept")
    line = ["gate", "tiny", "--baseline", str(tmp_path / "kept" / "results.json"), "--method", "paint"]
    assert main([*line, "--policy", str(policy), "--json"]) == 0
    capsys.readouterr()
    line = ["gate", "tiny:paint@blind", "--baseline", str(tmp_path / "kept" / "results.json"), "--method", "paint"]
    assert main([*line, "--policy", str(policy), "--pictures", str(tmp_path / "shown"), "--json"]) == 1
    pictures = said(capsys)["pictures"]
    assert pictures["folder"] == str(tmp_path / "shown")
    assert [s["gone"] for s in pictures["sheets"]] == [1, 1, 1]


def test_an_entry_of_a_leaderboard_is_a_baseline(tiny, copy, policy, capsys, tmp_path) -> None:
    board = tmp_path / "board"
    submit(RunFolder(copy), board, Registry([tiny.methods]), ["paint"])
    (entry,) = (board / "entries").glob("*-paint")
    line = ["gate", "tiny:paint", "--baseline", str(entry), "--policy", str(policy)]
    assert main(line) == 0
    assert main(["gate", "tiny:paint@blind", *line[2:]]) == 1
    out = capsys.readouterr().out
    assert "clip_i: worse\n" in out
    assert "of their pictures are not at hand; entries keep none)" in out
    assert main([*line[:3], str(board), *line[4:]]) == 0, "of a leaderboard the candidate's method is taken"
    assert main(["gate", "tiny:paint@blind", "--baseline", str(board)]) == 3
    assert "method of a leaderboard: found 'paint@blind'" in capsys.readouterr().err

    submit(RunFolder(copy), board, Registry([tiny.methods]), ["paint@blind"])
    (blind,) = (board / "entries").glob("*-paint-blind")
    before = sorted(board.rglob("*"))
    assert main(["gate", str(blind), "--baseline", str(entry), "--policy", str(policy)]) == 1
    assert sorted(board.rglob("*")) == before, "an entry is left as it is"
    assert list((copy.parent / f"gate-{blind.name}").glob("*.png"))

    policy.write_text("[metrics.recall50]\nmargin = 0.05\n", "utf-8")
    assert main(line) == 3
    assert "no score of any of its metrics" in capsys.readouterr().err

    other = json.loads((copy / "results.json").read_text("utf-8"))
    other["protocol"]["parts"]["suite"]["digest"] = "0" * 64
    (copy / "results.json").write_text(json.dumps(other), "utf-8")
    assert main(line) == 3
    assert "suite differ" in capsys.readouterr().err

    (entry / "images.json.gz").write_bytes(b"edited")
    assert main(line) == 3
    assert "leaderboard entry 0003 paint, images.json.gz: found sha256" in capsys.readouterr().err


def test_it_needs_no_torch(tiny, copy, policy) -> None:
    commands = json.dumps([[*SAME, "--policy", str(policy), "--json"], [*BLIND, "--policy", str(policy)]])
    env = {**os.environ, "PYTHONPATH": str(BASE_INSTALL.parents[2] / "bench")}
    done = subprocess.run(
        [sys.executable, str(BASE_INSTALL), commands], env=env, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["loaded"] == []
    assert [c["code"] for c in found["commands"]] == [0, 1], found


def test_fresh_seeds_confirm_a_regression(tiny, copy, policy, capsys) -> None:
    before = (copy / "results.json").read_bytes()
    more = ["--policy", str(policy), "--top-up", "1", "--json", "--methods-path", str(tiny.methods)]
    assert main([*BLIND, *more]) == 1
    found = said(capsys)
    assert (found["seeds"], found["fresh"]) == ([0, 1], [1])
    assert found["reasons"] == ["clip_i: worse, and fresh seeds confirm it"]
    assert found["notes"] == ["first stage: regression", "second stage: 1 fresh seed"]
    assert found["metrics"][0]["n"] == 6
    assert (copy / "results.json").read_bytes() == before, "the run itself stays as it is"

    # A baseline that today's code would not draw keeps its seeds, and the candidate alone gets more.
    plan = json.loads((copy / "plan.json").read_text("utf-8"))
    for row in plan["rows"]:
        row["code"] = row["code"] if row["name"] != "paint" else "0" * 64
    (copy / "plan.json").write_text(json.dumps(plan), "utf-8")
    assert main([*BLIND, *more]) == 1
    found = said(capsys)
    assert "for the candidate only, paired sample by sample (more seeds of 'paint'" in found["notes"][2]
    assert "found another code since; expected what it was made with" in found["notes"][2]
    assert found["reasons"] == ["clip_i: worse, and fresh seeds confirm it"]


@pytest.mark.parametrize(
    ("line", "start"),
    [
        (["gate", "tiny", "--baseline", "tiny:paint"], "run 'tiny': found 2 methods: paint, paint@blind; expected"),
        (["gate", "tiny:pant", "--baseline", "tiny:paint"], "run 'tiny:pant': found no method 'pant'; expected one of"),
        (["gate", "tyni", "--baseline", "tiny:paint"], "unknown run: found 'tyni'"),
        (["gate", "tiny:paint"], "layoutmark gate: found the following arguments are required: --baseline"),
    ],
)  # fmt: skip
def test_refusals(line, start, copy, capsys, tmp_path) -> None:
    assert main([*line, "--junit", str(tmp_path / "gate.xml")]) == 3
    error = capsys.readouterr().err
    assert error.startswith(f"layoutmark: {start}"), error
    assert error.count("\n") == 1
    if "--baseline" in line:
        (part,) = ElementTree.parse(tmp_path / "gate.xml").getroot().iter("error")
        assert part.get("type") == "unusable"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data["protocol"].pop("parts"), "protocol: found no key 'parts'; expected an object"),
        (lambda data: data["images"][0]["scores"].pop("miou"), "found no 'miou'; expected every metric of the list"),
        (lambda data: data["images"].clear(), "KeyError: 'paint'; expected results as layoutmark writes them"),
        (lambda data: data["protocol"]["parts"]["metrics"].update(miou="0"), "found other versions of miou"),
    ],
)  # fmt: skip
def test_edited_results_are_unusable(damage, said, copy, capsys) -> None:
    data = json.loads((copy / "results.json").read_text("utf-8"))
    damage(data)
    (copy / "results.json").write_text(json.dumps(data), "utf-8")
    assert main(SAME) == 3
    assert said in capsys.readouterr().err


def test_truncated_results_are_unusable(copy, capsys) -> None:
    path = copy / "results.json"
    path.write_bytes(path.read_bytes()[:5000])
    assert main(SAME) == 3
    assert "broken JSON" in capsys.readouterr().err
