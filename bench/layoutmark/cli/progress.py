"""Progress of long commands: moving bars on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

SECONDS_BETWEEN_LINES = 10
RECORDS_BETWEEN_UPDATES = 256
"""Updating the terminal for each of a million records would take longer than reading them."""


class ProgressBars:
    """One bar per row on a terminal; in a log a plain line per row, repeated every ten seconds."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._printed_at: dict[str, float] = {}

    def __enter__(self) -> ProgressBars:
        if sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

            self._bars = _start(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, name: str, done: int, total: int) -> None:
        """Report that `done` of `total` items of row `name` are finished."""
        if self._bars is not None:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(f"{self.verb} {name}", total=total)
            self._bars.update(self._tasks[name], completed=done, total=total)
        else:
            self._print_line(name, done, total)

    def _print_line(self, name: str, done: int, total: int) -> None:
        now = time.monotonic()
        if name not in self._printed_at or done == total or now - self._printed_at[name] > SECONDS_BETWEEN_LINES:
            if self._printed_at.get(name) == float("inf"):  # its last line was printed
                return
            print(f"{self.verb} {name}: {done} of {total}", file=sys.stderr, flush=True)
            self._printed_at[name] = float("inf") if done == total else now


class RecordCounter:
    """On a terminal a moving bar per kind of record with the number read so far; silent in a log."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._counts: dict[str, int] = {}

    def __enter__(self) -> RecordCounter:
        if sys.stderr.isatty():
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn

            self._bars = _start(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:,} read"),
                TimeElapsedColumn(),
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, kind: str) -> None:
        """Report that one more record of a kind was read."""
        if self._bars is None:
            return
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if kind not in self._tasks:
            # The total is known only after the last record.
            self._tasks[kind] = self._bars.add_task(f"{kind}s", total=None)
        if self._counts[kind] % RECORDS_BETWEEN_UPDATES == 1:
            self._bars.update(self._tasks[kind], completed=self._counts[kind])


def _start(*columns: ProgressColumn) -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    bars = Progress(*columns, console=Console(stderr=True), transient=True)
    bars.start()
    return bars
