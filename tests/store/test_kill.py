"""Processes that write at the same time, and processes that are killed while writing."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from layoutmark.provenance import digest
from layoutmark.store import Store

WRITER = """
import sys
from pathlib import Path
import numpy as np
from layoutmark.provenance import digest
from layoutmark.store import Store

store, worker = Store(Path(sys.argv[1])), sys.argv[2]
for i in range(100000):
    pixels = np.random.default_rng(i).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    store.put_image(digest([worker, i % 40]), pixels, {"status": "ok", "i": i})
    store.put_features([(digest([worker, "f", i]), {"v": np.full(50, i)}), (worker, {"v": np.full(9, i)})])
    print(i, flush=True)
"""


def indexed_keys(root: Path, table: str) -> list[str]:
    connection = sqlite3.connect(root / "store.sqlite")
    try:
        return [key for (key,) in connection.execute(f"SELECT key FROM {table}")]
    finally:
        connection.close()


def test_indexed_entries_are_readable_after_writers_are_killed(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    for delay in (0.003, 0.05, 0.11):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(tmp_path), name], env=environment, stdout=subprocess.PIPE, text=True
            )
            for name in ("a", "b")
        ]
        last = {}
        for name, writer in zip("ab", writers, strict=True):
            for _ in range(6):
                last[name] = int(writer.stdout.readline())
        time.sleep(delay)
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
        printed = {name: [int(x) for x in w.communicate()[0].split()] for name, w in zip("ab", writers, strict=True)}
        last = {name: (printed[name] or [last[name]])[-1] for name in "ab"}

        store = Store(tmp_path)
        keys, features = indexed_keys(tmp_path, "images"), indexed_keys(tmp_path, "features")
        assert len(keys) >= 12
        # A kill may fall between a new file and its new row: that image then counts as absent, with a reason.
        unreadable = [key for key in keys if store.image(key) is None]
        assert len(unreadable) <= len(writers)
        assert set(unreadable) == set(store.damage())
        assert set(store.features(features)) == set(features)
        for name in "ab":
            assert store.features([name])[name]["v"][0] >= last[name], (
                "features that were reported as written can be read"
            )
            assert (
                store.features([digest([name, "f", last[name]])])[digest([name, "f", last[name]])]["v"] == last[name]
            ).all()
        for key in unreadable:
            store.put_image(key, np.zeros((1, 1, 3), np.uint8), {"status": "ok"})
        assert store.damage() == {}


def write_shared_keys(root: Path, worker: int) -> None:
    store = Store(root)
    for i in range(25):
        shade = np.full((8, 8, 3), worker * 100 + i, np.uint8)
        store.put_image(f"same{i % 5}", shade, {"status": "ok", "worker": worker, "i": i})
        store.put_image(f"own{worker}-{i}", shade, {"status": "ok"})


def test_two_processes_may_write_the_same_keys(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=write_shared_keys, args=(tmp_path, worker)) for worker in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [w.exitcode for w in workers] == [0, 0]
    store = Store(tmp_path)
    assert len(indexed_keys(tmp_path, "images")) == 5 + 2 * 25
    for i in range(5):
        record, pixels = store.record(f"same{i}"), store.image(f"same{i}")
        assert record is not None
        assert pixels is not None
        # The row and the file come from the same writer.
        assert pixels[0, 0, 0] == record["worker"] * 100 + record["i"]
    assert store.damage() == {}
