"""The cost of a call: seconds, peak memory, and the hardware it ran on."""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType

from layoutmark.plurals import counted

CUDA_MEMORY, PROCESS_MEMORY = "cuda", "process"
"""How memory was measured: torch's allocations on the GPU, or the resident memory of the process."""
_STATUS_FILE, _RESET_FILE = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CPU_FILE = Path("/proc/cpuinfo")
_MAX_RESET_ERROR_BYTES = 16 * 2**20
"""The kernel counts resident memory per core and inexactly, so a new high-water mark may be this far above it."""


@dataclass(slots=True)
class Meter:
    """Measures the block of ``with Meter(device) as meter``.

    >>> with Meter() as meter:
    ...     total = sum(range(1000))
    >>> meter.seconds > 0
    True
    """

    device: str = "cpu"
    """The device that does the work; memory is measured there."""
    seconds: float = 0.0
    """Wall-clock time."""
    peak_bytes: int | None = None
    """Peak memory, including weights and, on the CPU, libraries; None if the system does not report it."""
    memory: str | None = None
    """How `peak_bytes` was measured: `CUDA_MEMORY`, `PROCESS_MEMORY` or None."""
    _start: float = field(default=0.0, repr=False)

    def __enter__(self) -> Meter:
        self.memory = _reset_peak(self.device)
        self._start = time.monotonic()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.peak_bytes = _read_peak(self.memory)
        self.seconds = time.monotonic() - self._start


@cache
def hardware_name(device: str) -> str:
    """Return the name of the GPU, or of the processor with the number of threads that torch uses."""
    torch = sys.modules.get("torch")
    if torch is not None and device.startswith(CUDA_MEMORY):
        return str(torch.cuda.get_device_name(device))
    try:
        models = [
            line.partition(":")[2] for line in _CPU_FILE.read_text().splitlines() if line.startswith("model name")
        ]
    except OSError:
        models = []
    threads = 1 if torch is None else torch.get_num_threads()
    name = " ".join((models or [platform.processor() or platform.machine()])[0].split())
    return f"{name}, {counted(threads, 'thread')}"


def _reset_peak(device: str) -> str | None:
    """Start a new measurement of the peak, and return how it is measured."""
    torch = sys.modules.get("torch")
    if torch is not None and device.startswith(CUDA_MEMORY):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return CUDA_MEMORY
    try:
        _RESET_FILE.write_text("5")  # resets the high-water mark of resident memory
    except OSError:
        return None
    peak, resident = _read_memory("VmHWM"), _read_memory("VmRSS")
    # Some sandboxes accept the request and keep the mark, which would then be the peak of an earlier call.
    if peak is None or resident is None or peak > resident + _MAX_RESET_ERROR_BYTES:
        return None
    return PROCESS_MEMORY


def _read_peak(memory: str | None) -> int | None:
    if memory == CUDA_MEMORY:
        torch = sys.modules["torch"]
        torch.cuda.synchronize()  # calls return before the GPU has finished
        return int(torch.cuda.max_memory_allocated())
    return _read_memory("VmHWM") if memory == PROCESS_MEMORY else None


def _read_memory(field_name: str) -> int | None:
    """Return a field of the process's memory status in bytes, or None if the kernel does not report it."""
    for line in _STATUS_FILE.read_text().splitlines():
        if line.startswith(f"{field_name}:"):
            return int(line.split()[1]) * 1024
    return None
