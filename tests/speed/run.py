"""`make speed`: seconds of a run's stages on suite `mini`, beside the bounds that hold on two cores.

Works in a folder of its own that is gone afterwards.  Exits with 1 when a bound is missed.

    python tests/speed/run.py [--limit N]     N: only the first N samples, to see whether it works
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
NAME = "speed"
FIRST_RUN, SECOND_RUN = 300.0, 30.0
"""Most seconds of a whole run on two cores, and of one that reuses everything."""


def command(*arguments: str, places: dict[str, str]) -> float:
    """Seconds of one command in a fresh process, start-up included.  Stops everything if it fails."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CALL, *arguments],
        env={**os.environ, **places}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"layoutmark {' '.join(arguments)} failed with {done.returncode}:\n{done.stderr[-2000:]}")
    return time.perf_counter() - begun


def suite_open() -> float:
    """Seconds to open suite `mini`: every scene drawn and checked."""
    begun = time.perf_counter()
    Registry().get_suite("mini").load().open_suite("mini")
    return time.perf_counter() - begun


def stages(limit: int | None, places: dict[str, str]) -> list[tuple[str, Callable[[], float], float | None]]:
    """What is timed, in order: its name, how, and its bound."""
    run = ["run", "mini", "--name", NAME, *(["--limit", str(limit)] if limit else [])]
    return [
        ("open suite mini", suite_open, None),
        ("layoutmark run, empty home", lambda: command(*run, places=places), FIRST_RUN),
        ("layoutmark run again", lambda: command(*run, places=places), SECOND_RUN),
        ("layoutmark measure, features stored", lambda: command("measure", NAME, places=places), None),
        ("layoutmark report", lambda: command("report", NAME, places=places), None),
    ]


def main() -> int:
    """Time, print, judge."""
    parser = argparse.ArgumentParser(description="Time the stages of a run on suite mini.")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="only the first N samples")
    limit = parser.parse_args().limit
    table = Table("stage", "seconds", "at most", "", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        places = {"LAYOUTMARK_HOME": str(Path(folder) / "home"), "LAYOUTMARK_RUNS": str(Path(folder) / "runs")}
        for name, timed, bound in stages(limit, places):
            print(f"timing: {name}", file=sys.stderr, flush=True)
            seconds = timed()
            over = bound is not None and seconds > bound
            missed += over
            verdict = "" if bound is None else "over" if over else "ok"
            table.add_row(name, f"{seconds:.2f}", "" if bound is None else f"{bound:.0f}", verdict)
    Console().print(table)
    print(f"{os.cpu_count()} cores" + (f", first {limit} samples only" if limit else ""))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
