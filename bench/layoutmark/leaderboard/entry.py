"""Entries of a leaderboard on disk: what a method did on a suite, image by image, and what made it.

    leaderboards/NAME/board.toml          suite, stack, and the settings of the matched track
    leaderboards/NAME/samples.json.gz     what every entry was asked for
    leaderboards/NAME/entries/0001-METHOD/{entry.json, images.json.gz, detections.parquet}

An entry names the digest of the entry before it, so that none can be edited, left out or put in between without a trace.
It is never edited: a later one of the same method and track takes its place in the table.
"""  # noqa: E501

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
from layoutmark.metrics import ASIDE
from layoutmark.provenance import canonical, digest

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "layoutmark-entry-1"
CARD, SAMPLES, ENTRIES, FACTS = "board.toml", "samples.json.gz", "entries", "entry.json"
IMAGES, DETECTIONS = "images.json.gz", "detections.parquet"
START = "0" * 64
"""What the first entry names as the one before it."""
TITLE = "title"
REFERENCE, AUTHORS, MATCHED = "reference", "authors", "matched"
"""Tracks: rows that bound the table, each method's own settings, the board's settings for all."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One row of a run.  `facts` is entry.json; the rest is read when asked for."""

    folder: Path
    facts: Mapping[str, Any]

    @property
    def number(self) -> int:
        """Its place in the chain, from 1."""
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
    def own_digest(self) -> str:
        """sha256 over entry.json, which holds the digests of the other files."""
        return file_digest(self.folder / FACTS)

    @property
    def row_key(self) -> tuple[str, str]:
        """Entries with the same key take each other's place."""
        return self.track, self.name

    @cached_property
    def images(self) -> list[dict[str, Any]]:
        """Status, reason and headline scores of every image, as in results.json."""
        found: list[dict[str, Any]] = read_packed(self.folder / IMAGES)
        return found

    @cached_property
    def detections(self) -> pd.DataFrame:
        """All detections, as in a run.  Raises LayoutmarkError if they are missing or damaged."""
        import pandas as pd

        try:
            return pd.read_parquet(self.folder / DETECTIONS)
        except (OSError, ValueError) as error:
            raise LayoutmarkError(
                f"leaderboard file {self.folder.name}/{DETECTIONS}", found=str(error), expected="a Parquet table",
                do="Restore it from history.",
            ) from error  # fmt: skip


@dataclass(frozen=True, eq=False)
class Board:
    """A folder of entries, in the order of the chain."""

    folder: Path
    entries: tuple[Entry, ...]
    matched: Mapping[str, Any] = field(default_factory=dict)
    """Settings that every entry of the matched track has."""

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
        """Digest of the last entry; START without one."""
        return self.entries[-1].own_digest if self.entries else START

    @cached_property
    def samples(self) -> list[dict[str, Any]]:
        """What every entry was asked for, as in results.json."""
        found: list[dict[str, Any]] = read_packed(self.folder / SAMPLES)
        return found


def open_board(folder: Path) -> Board:
    """Read a board; a folder that is not there yet is an empty one.

    Raises LayoutmarkError for an entry that cannot be read or is of another format.
    """
    card = folder / CARD
    try:
        data = tomllib.loads(card.read_text("utf-8")) if card.is_file() else {}
    except (OSError, ValueError) as error:
        raise LayoutmarkError(
            f"leaderboard {folder.name}, {CARD}", found=str(error), expected="TOML", do="Correct the file."
        ) from error
    if unknown := sorted(set(data) - {TITLE, MATCHED}) or not isinstance(data.get(MATCHED, {}), dict):
        raise LayoutmarkError(
            f"leaderboard {folder.name}, {CARD}",
            found=f"unknown key {unknown[0]!r}" if isinstance(unknown, list) else f"{MATCHED} is no table",
            expected=f"{TITLE}, and a table [{MATCHED}] of settings", do="Correct the file.",
        )  # fmt: skip
    folders = sorted(p for p in (folder / ENTRIES).glob("*") if p.is_dir())
    return Board(folder, tuple(_read_entry(p) for p in folders), data.get(MATCHED, {}))


def _read_entry(folder: Path) -> Entry:
    try:
        facts = json.loads((folder / FACTS).read_text("utf-8"))
        found = facts["format"]
        int(folder.name.partition("-")[0])
        str(facts["row"]["name"] + facts["track"] + facts["previous"] + facts["samples"])
        str(facts["files"][IMAGES] + facts["files"][DETECTIONS] + facts["protocol"]["hash"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LayoutmarkError(
            f"leaderboard entry {folder.name}", found=f"{type(error).__name__}: {error}",
            expected=f"{FACTS} as `leaderboard submit` writes it", do="Restore it from history.",
        ) from error  # fmt: skip
    if found != FORMAT:
        raise LayoutmarkError(
            f"leaderboard entry {folder.name}", found=f"format {found}", expected=FORMAT,
            do="Update layoutmark: pip install --upgrade layoutmark",
        )  # fmt: skip
    return Entry(folder, facts)


def board_protocol(parts: Mapping[str, Any], metrics: Mapping[str, str]) -> dict[str, Any]:
    """What entries of one board share: suite, stack, seeds, and versions of the headline metrics.

    `parts` are a run's; its digests of code are left out, since a metric's version rises when its numbers change, and
    so are scorers that no headline metric reads.
    """
    stack = {
        key: {k: v for k, v in part.items() if k not in ASIDE} if key in ("scorers", "names") else part
        for key, part in parts["stack"].items()
    }
    shared = {"suite": parts["suite"], "stack": stack, "seeds": parts["seeds"], "metrics": dict(metrics)}
    return {"hash": digest(shared)[:16], "parts": shared}


def pack(data: Any) -> bytes:
    """Canonical JSON, compressed without a time, so that equal data are equal bytes."""
    return gzip.compress(canonical(data).encode("utf-8"), 9, mtime=0)


def read_packed(path: Path) -> Any:
    """What `pack` wrote.  Raises LayoutmarkError if it is missing or damaged."""
    try:
        return json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError) as error:
        raise LayoutmarkError(
            f"leaderboard file {path.parent.name}/{path.name}", found=str(error), expected="packed JSON",
            do="Restore it from history.",
        ) from error  # fmt: skip


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
