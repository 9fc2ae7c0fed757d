"""`make speed`: how long the command takes to start, as a multiple of the time of `python -c "import numpy"`.

python tests/speed/start.py [--runs N]

Each time is the least CPU time of N fresh processes, so that a busy machine matters little.  Exits with 1 if a bound is
missed.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Sequence

DEFAULT_RUNS = 9
CALL = "import sys; from layoutmark.cli.main import main; sys.exit(main(sys.argv[1:]))"
MAX_RATIOS = {("--help",): 2.0, ("methods", "list"): 4.0}
"""Bounds by arguments of the command, as multiples of the time to import numpy."""


def seconds(code: str, arguments: Sequence[str] = ()) -> float:
    """CPU seconds of one fresh interpreter."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Measure and print every ratio; 1 if one is above its bound."""
    parser = argparse.ArgumentParser(description="Time the start of the command.")
    parser.add_argument("--runs", type=int, default=DEFAULT_RUNS, metavar="N")
    # Taken in turn, so that a busy spell of the machine slows all of them down.
    rounds = [
        {(): seconds("import numpy")} | {arguments: seconds(CALL, arguments) for arguments in MAX_RATIOS}
        for _ in range(parser.parse_args().runs)
    ]
    least = {arguments: min(times[arguments] for times in rounds) for arguments in rounds[0]}
    ratios = {arguments: least[arguments] / least[()] for arguments in MAX_RATIOS}
    print(f"import numpy: {least[()]:.3f} s")
    for arguments, ratio in ratios.items():
        print(f"layoutmark {' '.join(arguments)}: {ratio:.2f} times as long (at most {MAX_RATIOS[arguments]:g})")
    return int(any(ratios[arguments] > MAX_RATIOS[arguments] for arguments in MAX_RATIOS))


if __name__ == "__main__":
    sys.exit(main())
