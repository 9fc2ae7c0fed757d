"""`layoutmark methods check`: exit codes, table, JSON, and replays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layoutmark.cli.main import main

GOLDEN = """
import torch

from layoutmark.diffusion.golden import difference, not_compared, read_facts, read_manifest


def replay(folder):
    manifest = read_manifest(folder, "replayed")
    theirs = torch.tensor(read_facts(folder, "tensor.json"))
    found = [not_compared("spare", "unknown")]
    return found + [difference("case tensor", torch.ones(manifest["size"]), theirs, 1e-3) for _ in theirs[:1]]
"""
CARD = """
name = "replayed"
title = "Replayed"
summary = "Generates nothing."
version = "1"
training_free = true
inputs = ["prompt"]
stacks = ["mini"]
"""


@pytest.fixture
def replayed(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins" / "methods" / "replayed"
    folder.mkdir(parents=True)
    (folder / "method.toml").write_text(CARD)
    (folder / "adapter.py").write_text("def build(stack, settings):\n    raise NotImplementedError\n")
    (folder / "golden.py").write_text(GOLDEN)
    return tmp_path / "plugins"


def recorded(folder: Path, tensor: list[float], **manifest: object) -> Path:
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"method": "replayed", "size": 2} | manifest))
    (folder / "tensor.json").write_text(json.dumps(tensor))
    return folder


def check(replayed: Path, golden: Path, *more: str) -> int:
    return main(["methods", "check", "replayed", "--golden", str(golden), "--methods-path", str(replayed), *more])


def test_a_replay_within_limits(replayed, tmp_path, capsys) -> None:
    golden = recorded(tmp_path / "golden", [1.0, 1.0002])
    assert check(replayed, golden) == 0
    shown = capsys.readouterr().out
    assert "case tensor" in shown
    assert "0.001" in shown
    assert "spare: not compared: unknown" in shown
    assert "1 within tolerance, 0 over, 1 not compared" in shown
    assert check(replayed, golden, "--json") == 0
    spare, tensor = json.loads(capsys.readouterr().out)
    assert (spare["tensor"], spare["tolerance"], spare["relative"], spare["note"]) == (
        "spare",
        None,
        None,
        "not compared: unknown",
    )
    assert tensor["relative"] == pytest.approx(0.0002 / 2**0.5, rel=1e-2)
    assert tensor["absolute"] == pytest.approx(0.0002, rel=1e-2)
    assert tensor["tolerance"] == 1e-3
    assert tensor["ok"] is True


@pytest.mark.parametrize("tensor", [[1.0, 1.01], [1.0, float("nan")], [1.0, 1.0, 1.0]])
def test_a_replay_over_its_limit(tensor, replayed, tmp_path, capsys) -> None:
    golden = recorded(tmp_path / "golden", tensor)
    assert check(replayed, golden) == 1
    assert "0 within tolerance, 1 over, 1 not compared" in capsys.readouterr().out
    assert check(replayed, golden, "--json") == 1
    assert json.loads(capsys.readouterr().out)[1]["ok"] is False


def test_folders_that_cannot_be_replayed(replayed, tmp_path, capsys) -> None:
    assert check(replayed, tmp_path / "nowhere") == 3
    assert "no manifest.json" in capsys.readouterr().err
    assert check(replayed, recorded(tmp_path / "other", [1.0], method="another")) == 3
    assert "'another'" in capsys.readouterr().err
    assert check(replayed, recorded(tmp_path / "empty", [])) == 3
    assert "no tensors to compare" in capsys.readouterr().err
    torn = recorded(tmp_path / "torn", [1.0, 1.0])
    (torn / "manifest.json").write_text("{}")
    assert check(replayed, torn) == 3
    assert "found no tensor or entry 'size'" in capsys.readouterr().err


def test_a_method_without_recordings(tmp_path, capsys) -> None:
    assert main(["methods", "check", "base", "--golden", str(tmp_path)]) == 3
    assert "method 'base': found no golden.py; expected golden.py with replay(folder)" in capsys.readouterr().err


def test_faulty_method_fails_its_checks(paint, capsys) -> None:
    line = ["methods", "check", "paint", "--stack", "tiny", "--methods-path", str(paint)]
    assert main([*line, "--json"]) == 1
    rows = {row.pop("check"): row for row in json.loads(capsys.readouterr().out)}
    assert rows["readme_exists"] == {"outcome": "failed", "reason": "no README.md, or an empty one"}
    assert rows["unknown_settings_are_refused"]["reason"] == "no_such_setting = 1 is accepted"
    assert rows["same_seed_same_image"] == {"outcome": "passed", "reason": ""}
    assert rows["stack_is_restored_after_an_error"]["outcome"] == "not applicable"


def test_a_sound_method_and_unknown_names(capsys) -> None:
    assert main(["methods", "check", "base", "--stack", "tiny"]) == 0
    shown = capsys.readouterr().out
    assert "batch_and_order_do_not_matter" in shown
    assert "training-free" in shown
    assert main(["methods", "check", "bas"]) == 3
    assert "Did you mean 'base'" in capsys.readouterr().err
    assert main(["methods", "check", "base", "--stack", "minni"]) == 3
    assert "Did you mean" in capsys.readouterr().err
