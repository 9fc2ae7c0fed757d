"""What commands share: options, progress, plain tables."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from layoutmark.registry import Dtype, Registry

Call = Callable[[argparse.Namespace], int]
WIDE = 1000
"""Columns of a table that no terminal shows: none is folded."""
WORD = 20
"""Letters of a word that a table does not break: more than those of any method's title."""


def command(commands: Any, name: str, text: str, call: Call, *, as_json: bool = False) -> argparse.ArgumentParser:
    """Add a command with the options every command has.  `text` is one sentence."""
    found: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    found.set_defaults(call=call)
    found.add_argument("--debug", action="store_true", help="show the traceback of an error")
    found.add_argument("--offline", action="store_true", help="guarantee that nothing is fetched from the network")
    found.add_argument(
        "--methods-path",
        action="append",
        default=[],
        type=Path,
        metavar="FOLDER",
        help="look for guests here too; repeatable",
    )
    if as_json:
        found.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return found


def registry(options: argparse.Namespace) -> Registry:
    """The shelf with the user's own folders."""
    return Registry(options.methods_path, getattr(options, "generator", None))


def add_stack_options(part: argparse.ArgumentParser, *, dtype: bool = True) -> None:
    """Options of commands that load a stack: which, from where, how exact."""
    part.add_argument("--stack", default="mini", help="name of a stack (default: mini)")
    part.add_argument(
        "--generator", type=Path, default=None, metavar="FOLDER",
        help="a folder in the diffusers layout that takes the place of the stack's own generator",
    )  # fmt: skip
    if dtype:
        part.add_argument(
            "--dtype", default=Dtype.FP32, metavar="NAME",
            help=f"numbers of the generator's weights: {', '.join(Dtype)} (default: {Dtype.FP32})",
        )  # fmt: skip


def print_json(data: Any) -> None:
    """Print plain data as JSON with sorted keys."""
    print(json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False))


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print a table; columns too wide for a terminal are folded, never cut, and the first one, the name, stays whole.

    Words of usual length stay whole too: a fold falls between them.  In a file or a pipe nothing is
    folded, unless COLUMNS says how wide it is: a row is a line there.
    """
    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console = Console(soft_wrap=False, width=WIDE if wide else None)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", title=title or None)
    known = list(rows)
    for index, column in enumerate(columns):
        words = [len(word) for row in known for word in row[index].split()]
        whole = max((length for length in words if length <= WORD), default=None)
        table.add_column(column, overflow="fold", no_wrap=index == 0, min_width=whole)
    for row in known:
        table.add_row(*row)
    console.print(table, markup=False)


def shown_names(addresses: Iterable[str]) -> dict[str, str]:
    """How rows are shown: RUN:METHOD, or METHOD alone where all rows are of one run."""
    names = list(addresses)
    one_run = len({name.rpartition(":")[0] for name in names}) == 1
    return {name: name.rpartition(":")[2] if one_run else name for name in names}


class Bars:
    """Progress bars on a terminal; in a log one plain line a row, and again every ten seconds."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}

    def __enter__(self) -> Bars:
        if sys.stderr.isatty():
            self._bars = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, name: str, done: int, total: int) -> None:
        """Say that `done` of `total` parts of `name` are there."""
        if self._bars is not None:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(f"{self.verb} {name}", total=total)
            self._bars.update(self._tasks[name], completed=done, total=total)
            return
        now = time.monotonic()
        if name not in self._said or done == total or now - self._said[name] > 10:
            if self._said.get(name) == float("inf"):
                return
            print(f"{self.verb} {name}: {done} of {total}", file=sys.stderr, flush=True)
            self._said[name] = float("inf") if done == total else now


class Tally:
    """On a terminal a moving bar for each kind of record with the number read so far; silent in a log."""

    EVERY = 256
    """Records between two looks at the terminal: there can be a million."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._read: dict[str, int] = {}

    def __enter__(self) -> Tally:
        if sys.stderr.isatty():
            self._bars = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,} read"),
                TimeElapsedColumn(), console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, kind: str) -> None:
        """Say that one more record of a kind was read."""
        if self._bars is None:
            return
        self._read[kind] = self._read.get(kind, 0) + 1
        if kind not in self._tasks:
            # How many there will be is known only when all are read.
            self._tasks[kind] = self._bars.add_task(f"{kind}s", total=None)
        if self._read[kind] % self.EVERY == 1:
            self._bars.update(self._tasks[kind], completed=self._read[kind])


def add_to_step_summary(markdown: str) -> None:
    """Show `markdown` on the summary page of a GitHub Actions job; nothing happens elsewhere."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with open(summary, "a", encoding="utf-8") as file:  # other steps have written there too
            file.write(markdown)
