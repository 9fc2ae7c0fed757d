"""The index of the store: one SQLite file in WAL mode that says which keys are stored and where.

Many processes of one machine may read and write at once; WAL needs a local file system.  Every public call is one
transaction.  A row is written only after its file is safely on disk.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layoutmark.errors import LayoutmarkError

FORMAT = 1
MAX_WAIT_SECONDS = 120.0
"""Wait for other writers; a transaction takes milliseconds."""
SCHEMA = """
CREATE TABLE images (key TEXT PRIMARY KEY, record TEXT NOT NULL, pixels TEXT, bytes INTEGER) WITHOUT ROWID;
CREATE TABLE parts (part TEXT PRIMARY KEY, sha256 TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE features (key TEXT PRIMARY KEY, part TEXT NOT NULL REFERENCES parts, row INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX features_by_part ON features (part);
CREATE TABLE damage (kind TEXT, key TEXT, reason TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class ImageRow:
    """Record (JSON), digest of the pixels and size of the file; the last two are None for a record without pixels."""

    record: str
    pixels: str | None
    bytes: int | None


class Index:
    """Rows of images, features and damage.  Connections open on first use, one per process and thread.

    Every method raises LayoutmarkError if the file is damaged, or locked for longer than `MAX_WAIT_SECONDS`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def put_image(self, key: str, row: ImageRow) -> None:
        """Insert or replace the row of an image.  Call it within `writing`, with the file already in place."""
        self._run("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?)", (key, row.record, row.pixels, row.bytes))
        self._run("DELETE FROM damage WHERE kind = 'image' AND key = ?", (key,))

    def images(self, keys: Sequence[str]) -> dict[str, ImageRow]:
        """Rows by key, for the keys that are indexed."""
        rows = self._select("SELECT key, record, pixels, bytes FROM images WHERE key IN", keys)
        return {key: ImageRow(*row) for key, *row in rows}

    def drop_image(self, key: str, row: ImageRow, reason: str) -> None:
        """Forget an image with a damaged file, unless it was rewritten meanwhile; keep the reason."""
        with self.writing():
            if self.images([key]).get(key) == row:
                self._run("DELETE FROM images WHERE key = ?", (key,))
                self._note_damage("image", key, reason)

    def put_part(self, part: str, sha256: str, keys: Sequence[str]) -> None:
        """Point keys to the rows of a part, in order, instead of any earlier rows."""
        with self.writing():
            self._run("INSERT OR REPLACE INTO parts VALUES (?, ?)", (part, sha256))
            for row, key in enumerate(keys):
                self._run("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", (key, part, row))
                self._run("DELETE FROM damage WHERE kind = 'feature' AND key = ?", (key,))

    def features(self, keys: Sequence[str]) -> dict[tuple[str, str], dict[str, int]]:
        """Row numbers by key, by (part, its sha256), for the keys that are indexed."""
        rows_by_part: dict[tuple[str, str], dict[str, int]] = {}
        query = "SELECT key, part, row, sha256 FROM features JOIN parts USING (part) WHERE key IN"
        for key, part, row, sha256 in self._select(query, keys):
            rows_by_part.setdefault((part, sha256), {})[key] = row
        return rows_by_part

    def drop_part(self, part: str, reason: str) -> None:
        """Forget all keys of a damaged part; keep the reason."""
        with self.writing():
            for (key,) in self._run("SELECT key FROM features WHERE part = ?", (part,)):
                self._note_damage("feature", key, reason)
            self._run("DELETE FROM features WHERE part = ?", (part,))

    def damage(self, kind: str) -> dict[str, str]:
        """Reasons by key, for keys that were damaged and have not been written again."""
        return dict(self._run("SELECT key, reason FROM damage WHERE kind = ? ORDER BY key", (kind,)))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction that excludes other writers and is rolled back if the block raises."""
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            self._run("ROLLBACK")
            raise

    def _note_damage(self, kind: str, key: str, reason: str) -> None:
        self._run("INSERT OR REPLACE INTO damage VALUES (?, ?, ?)", (kind, key, reason))

    def _select(self, query: str, keys: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        for start in range(0, len(keys), 500):
            chunk = keys[start : start + 500]
            yield from self._run(f"{query} ({','.join('?' * len(chunk))})", tuple(chunk))

    def _run(self, statement: str, values: tuple[object, ...] = ()) -> list[Any]:
        # A connection must not be shared with a forked process or another thread.
        if getattr(self._local, "owner", None) != os.getpid():
            self._local.connection = _open(self.path)
            self._local.owner = os.getpid()
        connection: sqlite3.Connection = self._local.connection
        try:
            return connection.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise _unusable_error(self.path, error) from error


def _unusable_error(path: Path, error: sqlite3.DatabaseError) -> LayoutmarkError:
    return LayoutmarkError(
        f"store {path}", found=str(error), expected="a layoutmark store", do="Move the file away and run again."
    )


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = sqlite3.connect(path, timeout=MAX_WAIT_SECONDS, isolation_level=None)
        _prepare(connection)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise _unusable_error(path, error) from error
    if version != FORMAT:
        connection.close()
        raise LayoutmarkError(
            f"store {path}",
            found=f"format {version}",
            expected=f"format {FORMAT}",
            do="Use the version of layoutmark that wrote it, or another LAYOUTMARK_HOME.",
        )
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """Switch to WAL mode, and create the tables if the file is new."""
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError:
            # The switch to WAL ignores the timeout when two processes open a new file at once.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")
