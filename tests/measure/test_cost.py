"""Seconds and memory of a call."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from layoutmark.cost import PROCESS, Meter, hardware


def test_seconds_are_those_of_the_block() -> None:
    with Meter() as meter:
        time.sleep(0.05)
    assert 0.04 < meter.seconds < 1


def test_memory_counts_what_the_block_took_and_forgets_what_was_before() -> None:
    """In a process of its own: one that has freed much already takes new arrays from what it kept."""
    program = """
import numpy as np
from layoutmark.cost import Meter
with Meter() as meter:
    held = np.ones(40_000_000, dtype=np.uint8)
size = held.nbytes
del held
with Meter() as after:
    pass
print(meter.memory, after.memory, meter.peak_bytes, after.peak_bytes, size)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    first, second, *counts = done.stdout.split()
    if {first, second} != {PROCESS}:
        pytest.skip(f"memory is counted as {first}, then as {second}")
    taken, after, size = map(int, counts)
    assert taken - after > size / 2


@pytest.mark.parametrize(
    ("status", "memory"),
    [
        ("VmHWM:\t 500000 kB\nVmRSS:\t 500000 kB\n", PROCESS),
        ("VmHWM:\t1000000 kB\nVmRSS:\t 500000 kB\n", None),
        ("Name:\tpython\n", None),
    ],
)
def test_a_mark_that_the_system_does_not_forget_is_not_taken_for_this_block(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: str, memory: str | None
) -> None:
    table, reset = tmp_path / "status", tmp_path / "clear_refs"
    table.write_text(status)
    monkeypatch.setattr("layoutmark.cost._STATUS", table)
    monkeypatch.setattr("layoutmark.cost._RESET", reset)
    with Meter() as meter:
        pass
    assert meter.memory == memory
    assert meter.peak_bytes == (500_000 * 1024 if memory else None)


def test_a_block_that_fails_is_measured_and_its_error_goes_on() -> None:
    meter = Meter()
    with pytest.raises(ValueError, match="no"), meter:
        raise ValueError("no")
    assert meter.seconds > 0


def test_work_on_the_processor_does_not_ask_a_gpu_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.synchronize", lambda: asked.append("waited"))
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda: 7)
    with Meter("cpu") as meter:
        pass
    assert meter.memory in (PROCESS, None)
    assert asked == []
    with Meter("cuda:0") as meter:
        pass
    assert (meter.memory, meter.peak_bytes, asked) == ("cuda", 7, ["waited", "waited"])


def test_the_processor_is_named_with_the_threads_that_are_taken() -> None:
    told = hardware("cpu")
    assert told.endswith(f", {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}")
    assert len(told.partition(",")[0]) > 2
