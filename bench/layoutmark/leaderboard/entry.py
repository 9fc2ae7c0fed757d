"""Entries of a leaderboard on disk: the results of a method on a suite, image by image, and what made them.

    leaderboards/NAME/board.toml          title, and the settings of the matched track
    leaderboards/NAME/samples.json.gz     the samples that every entry covers
    leaderboards/NAME/entries/0001-METHOD/{entry.json, images.json.gz, detections.parquet}

Each entry contains the digest of the entry before it, so that none can be edited, removed or inserted without a trace.
Entries are never edited: a later one of the same method and track replaces the earlier one in the table.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layoutmark.errors import LayoutmarkError
from layoutmark.metrics import NON_HEADLINE_SCORERS
from layoutmark.provenance import canonical_json, digest

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "layoutmark-entry-1"
BOARD_FILE, SAMPLES_FILE, ENTRIES_FOLDER, ENTRY_FILE = "board.toml", "samples.json.gz", "entries", "entry.json"
IMAGES_FILE, DETECTIONS_FILE = "images.json.gz", "detections.parquet"
GENESIS_DIGEST = "0" * 64
"""Stands in the first entry for the digest of its predecessor."""
TITLE = "title"
REFERENCE, AUTHORS, MATCHED = "reference", "authors", "matched"
"""Tracks: rows that bound the table, each method's own settings, the same settings for all methods."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One row of a run.  `facts` is the content of entry.json; the other files are read on first use."""

    folder: Path
    facts: Mapping[str, Any]

    @property
    def number(self) -> int:
        """Position in the chain, from 1."""
        return int(self.folder.name.partition("-")[0])

    @property
    def name(self) -> str:
        """Method, or method@preset."""
        return str(self.facts["row"]["name"])

    @property
    def track(self) -> str:
        """`authors`, `matched` or `reference`."""
        return str(self.facts["track"])

    @property
    def label(self) -> str:
        """Number and name, for a reader."""
        return f"{self.number:04d} {self.name}"

    @property
    def entry_digest(self) -> str:
        """sha256 over entry.json, which holds the digests of the other files."""
        return file_digest(self.folder / ENTRY_FILE)

    @property
    def row_key(self) -> tuple[str, str]:
        """An entry replaces earlier ones with the same key."""
        return self.track, self.name

    @cached_property
    def images(self) -> list[dict[str, Any]]:
        """Status, reason and headline scores of every image, as in results.json."""
        images: list[dict[str, Any]] = read_packed_json(self.folder / IMAGES_FILE)
        return images

    @cached_property
    def detections(self) -> pd.DataFrame:
        """All detections, with the columns of a run's table.  Raises LayoutmarkError if they are missing or damaged."""
        import pandas as pd

        try:
            return pd.read_parquet(self.folder / DETECTIONS_FILE)
        except (OSError, ValueError) as error:
            raise LayoutmarkError(
                f"leaderboard file {self.folder.name}/{DETECTIONS_FILE}", found=str(error), expected="a Parquet table",
                do="Restore it from version control.",
            ) from error  # fmt: skip


@dataclass(frozen=True, eq=False)
class Board:
    """A folder of entries, in the order of the chain."""

    folder: Path
    entries: tuple[Entry, ...]
    matched: Mapping[str, Any] = field(default_factory=dict)
    """Settings that every entry of the matched track shares."""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @cached_property
    def current(self) -> tuple[Entry, ...]:
        """The last entry of each method and track, in the order of the chain."""
        return tuple(sorted({e.row_key: e for e in self.entries}.values(), key=lambda e: e.number))

    @property
    def head(self) -> str:
        """Digest of the last entry; `GENESIS_DIGEST` without entries."""
        return self.entries[-1].entry_digest if self.entries else GENESIS_DIGEST

    @cached_property
    def samples(self) -> list[dict[str, Any]]:
        """The samples that every entry covers, as in results.json."""
        samples: list[dict[str, Any]] = read_packed_json(self.folder / SAMPLES_FILE)
        return samples


def open_board(folder: Path) -> Board:
    """Read a board; a folder that does not exist is an empty board.

    Raises LayoutmarkError for an entry that cannot be read or has another format.
    """
    card = folder / BOARD_FILE
    try:
        data = tomllib.loads(card.read_text("utf-8")) if card.is_file() else {}
    except (OSError, ValueError) as error:
        raise LayoutmarkError(
            f"leaderboard {folder.name}, {BOARD_FILE}", found=str(error), expected="TOML", do="Correct the file."
        ) from error
    if unknown := sorted(set(data) - {TITLE, MATCHED}) or not isinstance(data.get(MATCHED, {}), dict):
        raise LayoutmarkError(
            f"leaderboard {folder.name}, {BOARD_FILE}",
            found=f"unknown key {unknown[0]!r}" if isinstance(unknown, list) else f"{MATCHED} is not a table",
            expected=f"{TITLE}, and a table [{MATCHED}] of settings", do="Correct the file.",
        )  # fmt: skip
    folders = sorted(p for p in (folder / ENTRIES_FOLDER).glob("*") if p.is_dir())
    return Board(folder, tuple(_read_entry(p) for p in folders), data.get(MATCHED, {}))


def _read_entry(folder: Path) -> Entry:
    try:
        facts = json.loads((folder / ENTRY_FILE).read_text("utf-8"))
        entry_format = facts["format"]
        int(folder.name.partition("-")[0])
        str(facts["row"]["name"] + facts["track"] + facts["previous"] + facts["samples"])
        str(facts["files"][IMAGES_FILE] + facts["files"][DETECTIONS_FILE] + facts["protocol"]["hash"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LayoutmarkError(
            f"leaderboard entry {folder.name}", found=f"{type(error).__name__}: {error}",
            expected=f"{ENTRY_FILE} as `leaderboard submit` writes it", do="Restore it from version control.",
        ) from error  # fmt: skip
    if entry_format != FORMAT:
        raise LayoutmarkError(
            f"leaderboard entry {folder.name}", found=f"format {entry_format}", expected=FORMAT,
            do="Update layoutmark: pip install --upgrade layoutmark",
        )  # fmt: skip
    return Entry(folder, facts)


def make_board_protocol(parts: Mapping[str, Any], metrics: Mapping[str, str]) -> dict[str, Any]:
    """The protocol that all entries of a board share: suite, stack, seeds, and versions of the headline metrics.

    `parts` is a run's protocol.  Its digests of code are left out, because a metric's version rises whenever its
    numbers change; scorers that no headline metric uses are left out too.
    """
    stack = {
        key: {k: v for k, v in value.items() if k not in NON_HEADLINE_SCORERS} if key in ("scorers", "names") else value
        for key, value in parts["stack"].items()
    }
    shared = {"suite": parts["suite"], "stack": stack, "seeds": parts["seeds"], "metrics": dict(metrics)}
    return {"hash": digest(shared)[:16], "parts": shared}


def pack_json(data: Any) -> bytes:
    """Canonical JSON, compressed without a timestamp: equal data give equal bytes."""
    return gzip.compress(canonical_json(data).encode("utf-8"), 9, mtime=0)


def read_packed_json(path: Path) -> Any:
    """Read what `pack_json` wrote.  Raises LayoutmarkError if it is missing or damaged."""
    try:
        return json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError) as error:
        raise LayoutmarkError(
            f"leaderboard file {path.parent.name}/{path.name}", found=str(error), expected="packed JSON",
            do="Restore it from version control.",
        ) from error  # fmt: skip


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
