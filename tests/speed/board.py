"""`make speed`: the time to build a leaderboard of 100 entries, copied from a committed board.

Each method has several entries, one per version, so that histories are drawn too.
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
from layoutmark.leaderboard.entry import file_digest, pack_json

BOARD = "mini-mini"
MAX_SECONDS = 10.0
VERSIONS_PER_METHOD = 4


def write_board(source: Path, folder: Path, entries: int) -> None:
    """Write a board of `entries` entries, repeating those of `source` under new names and versions."""
    board = open_board(source)
    shutil.copy(source / "board.toml", folder / "board.toml")
    shutil.copy(source / "samples.json.gz", folder / "samples.json.gz")
    references = [e for e in board.current if e.track == "reference"]
    methods = [e for e in board.current if e.track != "reference"]
    names = -(-(entries - len(references)) // VERSIONS_PER_METHOD)
    previous = "0" * 64
    for number in range(1, entries + 1):
        index = number - len(references) - 1
        entry = references[number - 1] if index < 0 else methods[index % names % len(methods)]
        name = entry.name if index < 0 else f"{entry.name}-{index % names}"
        entry_folder = folder / "entries" / f"{number:04d}-{name}"
        frame, buffer = entry.detections.assign(method=name), io.BytesIO()
        frame.to_parquet(buffer, index=False, compression="zstd")
        write_bytes(entry_folder / "detections.parquet", buffer.getvalue())
        write_bytes(entry_folder / "images.json.gz", pack_json([{**i, "method": name} for i in entry.images]))
        facts = json.loads(json.dumps(dict(entry.facts)))
        facts["row"] |= {"name": name, "version": str(1 + max(index, 0) // names)}
        facts["previous"] = previous
        facts["files"] = {file: file_digest(entry_folder / file) for file in facts["files"]}
        text = json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        write_text(entry_folder / "entry.json", text)
        previous = file_digest(entry_folder / "entry.json")


def main() -> int:
    """Measure, print, and return 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description="Time the building of a leaderboard.")
    parser.add_argument("--entries", type=int, default=100)
    entries = parser.parse_args().entries
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_board(Path(__file__).parents[2] / "leaderboards" / BOARD, folder, entries)
        begin, begin_cpu = time.perf_counter(), time.process_time()
        table = build_board(folder)
        seconds = time.perf_counter() - begin
        cpu_seconds = time.process_time() - begin_cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    methods = sum(len(track["methods"]) for track in table["tracks"].values())
    print(f"board of {entries} entries, {methods} rows, {len(table['history'])} histories: {seconds:.1f} s "
          f"(at most {MAX_SECONDS:.0f}), of which {cpu_seconds:.1f} s CPU time, {memory:.2f} GiB")  # fmt: skip
    return int(seconds > MAX_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
