"""How long a leaderboard of 100 entries takes to build, on copies of a committed board's entries.

Each method has several entries, newer versions of the one before, so that histories are drawn too.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

from layoutmark.atomic import write_bytes, write_text
from layoutmark.leaderboard import build_board, open_board
from layoutmark.leaderboard.entry import file_digest, pack

BOARD = "mini-mini"
SECONDS = 10.0
VERSIONS = 4


def write_board(source: Path, folder: Path, entries: int) -> None:
    """A board of `entries` entries: those of `source` again and again, each method under many names and versions."""
    board = open_board(source)
    shutil.copy(source / "board.toml", folder / "board.toml")
    shutil.copy(source / "samples.json.gz", folder / "samples.json.gz")
    references = [e for e in board.current if e.track == "reference"]
    methods = [e for e in board.current if e.track != "reference"]
    names = -(-(entries - len(references)) // VERSIONS)
    previous = "0" * 64
    for number in range(1, entries + 1):
        k = number - len(references) - 1
        entry = references[number - 1] if k < 0 else methods[k % names % len(methods)]
        name = entry.name if k < 0 else f"{entry.name}-{k % names}"
        at = folder / "entries" / f"{number:04d}-{name}"
        frame, buffer = entry.detections.assign(method=name), io.BytesIO()
        frame.to_parquet(buffer, index=False, compression="zstd")
        write_bytes(at / "detections.parquet", buffer.getvalue())
        write_bytes(at / "images.json.gz", pack([{**i, "method": name} for i in entry.images]))
        facts = json.loads(json.dumps(dict(entry.facts)))
        facts["row"] |= {"name": name, "version": str(1 + max(k, 0) // names)}
        facts["previous"] = previous
        facts["files"] = {file: file_digest(at / file) for file in facts["files"]}
        text = json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        write_text(at / "entry.json", text)
        previous = file_digest(at / "entry.json")


def main() -> int:
    """Time, print, judge."""
    parser = argparse.ArgumentParser(description="Time the building of a leaderboard.")
    parser.add_argument("--entries", type=int, default=100)
    entries = parser.parse_args().entries
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_board(Path(__file__).parents[2] / "leaderboards" / BOARD, folder, entries)
        begun, busy = time.perf_counter(), time.process_time()
        table = build_board(folder)
        seconds = time.perf_counter() - begun
        busy = time.process_time() - busy
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    methods = sum(len(track["methods"]) for track in table["tracks"].values())
    print(f"board of {entries} entries, {methods} rows, {len(table['history'])} histories: {seconds:.1f} s "
          f"(at most {SECONDS:.0f}), of them {busy:.1f} s at work, {memory:.2f} GiB")  # fmt: skip
    return int(seconds > SECONDS)


if __name__ == "__main__":
    sys.exit(main())
