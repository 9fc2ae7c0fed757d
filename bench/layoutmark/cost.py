"""What a call costs: seconds, the most memory that was taken while it ran, and what it ran on."""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType

CUDA, PROCESS = "cuda", "process"
"""Where memory was counted: what torch took of the GPU, or all that the process had resident."""
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_PROCESSORS = Path("/proc/cpuinfo")
_SLACK = 16 * 2**20
"""The kernel counts resident memory loosely, core by core: so far above it the high-water mark may stand when new."""


@dataclass(slots=True)
class Meter:
    """Measures what runs inside ``with Meter(device) as meter``.

    `seconds` is wall-clock time.  `peak_bytes` is the most memory at one time, counted as `memory` says: on a GPU what
    torch had allocated, else the process' resident memory, weights and libraries included.  Both are None where the
    system does not tell.
    """

    device: str = "cpu"
    """Where the work is done; a GPU that stands idle beside it is not asked."""
    seconds: float = 0.0
    peak_bytes: int | None = None
    memory: str | None = None
    _begun: float = field(default=0.0, repr=False)

    def __enter__(self) -> Meter:
        self.memory = _forget(self.device)
        self._begun = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.peak_bytes = _peak(self.memory)
        self.seconds = time.monotonic() - self._begun


@cache
def hardware(device: str) -> str:
    """What work is done on, as the system calls it: the GPU, or the processor and how many threads torch takes."""
    torch = sys.modules.get("torch")
    if torch is not None and device.startswith(CUDA):
        return str(torch.cuda.get_device_name(device))
    try:
        told = [
            line.partition(":")[2] for line in _PROCESSORS.read_text().splitlines() if line.startswith("model name")
        ]
    except OSError:
        told = []
    threads = 1 if torch is None else torch.get_num_threads()
    name = " ".join((told or [platform.processor() or platform.machine()])[0].split())
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def _forget(device: str) -> str | None:
    """Start the count of the peak anew; says what is counted."""
    torch = sys.modules.get("torch")
    if torch is not None and device.startswith(CUDA):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return CUDA
    try:
        _RESET.write_text("5")  # forget the resident memory's high-water mark
    except OSError:
        return None
    mark, resident = _resident("VmHWM"), _resident("VmRSS")
    # Some sandboxes take the request and keep the mark: what it would tell is an earlier call's peak.
    if mark is None or resident is None or mark > resident + _SLACK:
        return None
    return PROCESS


def _peak(memory: str | None) -> int | None:
    if memory == CUDA:
        torch = sys.modules["torch"]
        torch.cuda.synchronize()  # what was asked for has been done only now
        return int(torch.cuda.max_memory_allocated())
    return _resident("VmHWM") if memory == PROCESS else None


def _resident(field_name: str) -> int | None:
    """A count of the process' resident memory in bytes, by its name in the kernel's table."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field_name}:"):
            return int(line.split()[1]) * 1024
    return None
