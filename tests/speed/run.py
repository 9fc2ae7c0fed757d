"""`make speed`: seconds of a run's stages on suite `mini`, beside the bounds that hold on two cores.

Works in a temporary folder.  Exits with 1 if a bound is missed.

    python tests/speed/run.py [--limit N]     N: only the first N samples, for a trial
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from layoutmark.registry import Registry

CALL = "import sys; from layoutmark.cli.main import main; sys.exit(main(sys.argv[1:]))"
RUN_NAME = "speed"
MAX_FIRST_RUN_SECONDS, MAX_SECOND_RUN_SECONDS = 300.0, 30.0
"""Bounds for a complete run on two cores, and for one that reuses everything."""


def command(*arguments: str, folders: dict[str, str]) -> float:
    """Seconds of one command in a fresh process, including start-up.  Exits if the command fails."""
    begin = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-c", CALL, *arguments],
        env={**os.environ, **folders}, capture_output=True, text=True,
    )  # fmt: skip
    if process.returncode != 0:
        sys.exit(f"layoutmark {' '.join(arguments)} failed with {process.returncode}:\n{process.stderr[-2000:]}")
    return time.perf_counter() - begin


def suite_open() -> float:
    """Seconds to open suite `mini`, which draws and checks every scene."""
    begin = time.perf_counter()
    Registry().get_suite("mini").load().open_suite("mini")
    return time.perf_counter() - begin


def stages(limit: int | None, folders: dict[str, str]) -> list[tuple[str, Callable[[], float], float | None]]:
    """Name, function and bound of each stage, in order."""
    run = ["run", "mini", "--name", RUN_NAME, *(["--limit", str(limit)] if limit else [])]
    return [
        ("open suite mini", suite_open, None),
        ("layoutmark run, empty home", lambda: command(*run, folders=folders), MAX_FIRST_RUN_SECONDS),
        ("layoutmark run again", lambda: command(*run, folders=folders), MAX_SECOND_RUN_SECONDS),
        ("layoutmark measure, features stored", lambda: command("measure", RUN_NAME, folders=folders), None),
        ("layoutmark report", lambda: command("report", RUN_NAME, folders=folders), None),
    ]


def main() -> int:
    """Measure, print, and return 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description="Time the stages of a run on suite mini.")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="only the first N samples")
    limit = parser.parse_args().limit
    table = Table("stage", "seconds", "at most", "", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    missed_bounds = 0
    with tempfile.TemporaryDirectory() as folder:
        folders = {"LAYOUTMARK_HOME": str(Path(folder) / "home"), "LAYOUTMARK_RUNS": str(Path(folder) / "runs")}
        for name, measure_seconds, max_seconds in stages(limit, folders):
            print(f"timing: {name}", file=sys.stderr, flush=True)
            seconds = measure_seconds()
            is_over = max_seconds is not None and seconds > max_seconds
            missed_bounds += is_over
            verdict = "" if max_seconds is None else "over" if is_over else "ok"
            table.add_row(name, f"{seconds:.2f}", "" if max_seconds is None else f"{max_seconds:.0f}", verdict)
    Console().print(table)
    print(f"{os.cpu_count()} cores" + (f", first {limit} samples only" if limit else ""))
    return 1 if missed_bounds else 0


if __name__ == "__main__":
    sys.exit(main())
