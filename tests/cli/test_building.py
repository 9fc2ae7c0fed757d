"""`layoutmark suites build` moves a bar on a terminal and is silent in a log."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from layoutmark.ingest.ledger import Ledger, watch_records

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def command(tmp_path) -> list[str]:
    records = {f"a dog {n}": {"a dog": [0, 0, 0.5, 0.5]} for n in range(600)}
    (tmp_path / "mig.json").write_text(json.dumps(records), "utf-8")
    arguments = ["suites", "build", "coco-mig", "--source", str(tmp_path), "--out", str(tmp_path / "out")]
    return [sys.executable, "-m", "layoutmark.cli.main", *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(BENCH), "TERM": "xterm", "COLUMNS": "80"}


def test_a_log_stays_clean(command: list[str]) -> None:
    process = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    assert process.stderr == ""
    assert "prompts kept: 600" in process.stdout


def test_a_terminal_shows_the_number_of_records(command: list[str]) -> None:
    controller, terminal = pty.openpty()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal, env=environment()) as process:
        os.close(terminal)
        output = b""
        while True:
            try:
                chunk = os.read(controller, 4096)
            except OSError:
                break
            if not chunk:
                break
            output += chunk
        os.close(controller)
    assert process.returncode == 0
    assert b"prompts" in output
    assert b" read" in output


def test_each_finished_record_is_reported_once_and_only_inside() -> None:
    kinds: list[str] = []
    with watch_records(kinds.append):
        ledger = Ledger()
        ledger.keep("image", 1, ["repaired"], ["flagged"])
        ledger.skip("box", 2, "no area")
    Ledger().keep("image", 3)
    assert kinds == ["image", "box"]
