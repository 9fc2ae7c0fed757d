"""Measured time and memory of a block."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from layoutmark.cost import PROCESS_MEMORY, Meter, hardware_name


def test_seconds_are_those_of_the_block() -> None:
    with Meter() as meter:
        time.sleep(0.05)
    assert 0.04 < meter.seconds < 1


def test_memory_counts_only_the_block() -> None:
    """In its own process: one that has freed much memory reuses it for new arrays."""
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
    process = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    first, second, *counts = process.stdout.split()
    if {first, second} != {PROCESS_MEMORY}:
        pytest.skip(f"memory is counted as {first}, then as {second}")
    taken, after, size = map(int, counts)
    assert taken - after > size / 2


@pytest.mark.parametrize(
    ("status", "memory"),
    [
        ("VmHWM:\t 500000 kB\nVmRSS:\t 500000 kB\n", PROCESS_MEMORY),
        ("VmHWM:\t1000000 kB\nVmRSS:\t 500000 kB\n", None),
        ("Name:\tpython\n", None),
    ],
)
def test_a_peak_that_cannot_be_reset_is_not_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: str, memory: str | None
) -> None:
    status_file, reset = tmp_path / "status", tmp_path / "clear_refs"
    status_file.write_text(status)
    monkeypatch.setattr("layoutmark.cost._STATUS_FILE", status_file)
    monkeypatch.setattr("layoutmark.cost._RESET_FILE", reset)
    with Meter() as meter:
        pass
    assert meter.memory == memory
    assert meter.peak_bytes == (500_000 * 1024 if memory else None)


def test_a_failing_block_is_measured_and_its_error_propagates() -> None:
    meter = Meter()
    with pytest.raises(ValueError, match="no"), meter:
        raise ValueError("no")
    assert meter.seconds > 0


def test_work_on_the_cpu_does_not_query_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.synchronize", lambda: calls.append("waited"))
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda: 7)
    with Meter("cpu") as meter:
        pass
    assert meter.memory in (PROCESS_MEMORY, None)
    assert calls == []
    with Meter("cuda:0") as meter:
        pass
    assert (meter.memory, meter.peak_bytes, calls) == ("cuda", 7, ["waited", "waited"])


def test_the_cpu_is_named_with_its_number_of_threads() -> None:
    name = hardware_name("cpu")
    assert name.endswith(f", {torch.get_num_threads()} thread{'s' * (torch.get_num_threads() > 1)}")
    assert len(name.partition(",")[0]) > 2
