"""`layoutmark suites build` moves a bar on a terminal and is silent in a log."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from layoutmark.ingest.ledger import Ledger, watched

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def command(tmp_path) -> list[str]:
    records = {f"a dog {n}": {"a dog": [0, 0, 0.5, 0.5]} for n in range(600)}
    (tmp_path / "mig.json").write_text(json.dumps(records), "utf-8")
    told = ["suites", "build", "coco-mig", "--source", str(tmp_path), "--out", str(tmp_path / "out")]
    return [sys.executable, "-m", "layoutmark.cli.main", *told]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(BENCH), "TERM": "xterm", "COLUMNS": "80"}


def test_a_log_stays_clean(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    assert done.stderr == ""
    assert "prompts kept: 600" in done.stdout


def test_a_terminal_sees_what_is_read(command: list[str]) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment()) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:
                break
            if not part:
                break
            shown += part
        os.close(ours)
    assert process.returncode == 0
    assert b"prompts" in shown
    assert b" read" in shown


def test_every_closed_record_is_told_once_and_only_inside() -> None:
    seen: list[str] = []
    with watched(seen.append):
        ledger = Ledger()
        ledger.keep("image", 1, ["repaired"], ["flagged"])
        ledger.skip("box", 2, "no area")
    Ledger().keep("image", 3)
    assert seen == ["image", "box"]
