"""Whether a board is what its entries say, and whether its entries may stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from layoutmark.errors import LayoutmarkError
from layoutmark.layout import sample_from_json
from layoutmark.leaderboard.board import FILES, computed, restore
from layoutmark.leaderboard.entry import (
    REFERENCE,
    SAMPLES,
    START,
    Board,
    Entry,
    file_digest,
    open_board,
)
from layoutmark.leaderboard.entry_validation import form_faults
from layoutmark.leaderboard.rules import faults_of
from layoutmark.metrics import all_metrics
from layoutmark.score import Outcome, Score

CEILING = "ceiling"
BOUNDED = ("ap50", "miou", "clip_i", "dino")
"""Metrics on which nothing can truly be better than the true pictures."""
DETECTED = ("ap50", "miou")
"""Headline metrics of single images that the stored detections are enough for."""
NEAR = 1e-6
"""Machines differ in the last bits."""


def check_board(folder: Path) -> list[str]:
    """Everything that is wrong with a board, each told with its place; empty if nothing is."""
    found: list[str] = []
    try:
        board = open_board(folder)
        found += _chain(board)
        found += [fault for e in board.entries for fault in _entry(board, e)]
        if found:
            return found
        table = computed(board)
    except LayoutmarkError as error:
        return [*found, str(error)]
    return [*_contradictions(board), *_implausible(table), *_drift(board, table)]


def _chain(board: Board) -> list[str]:
    """Entries numbered without a gap, each naming the one before, with the files that it was written with."""
    found, previous = [], START
    for place, entry in enumerate(board.entries, start=1):
        if entry.number != place:
            found.append(f"entry {place:04d}: missing before {entry.label}")
        if entry.facts["previous"] != previous:
            found.append(f"entry {entry.label}: does not follow the entry before it: that one was edited or is missing")
        previous = entry.own_digest
        files = {entry.folder / name: digest for name, digest in entry.facts["files"].items()}
        files[board.folder / SAMPLES] = entry.facts["samples"]
        for path, digest in files.items():
            if not path.is_file():
                found.append(f"entry {entry.label}: no {path.name}")
            elif file_digest(path) != digest:
                found.append(f"entry {entry.label}: {path.name} edited after submission")
    return found


def _entry(board: Board, entry: Entry) -> list[str]:
    found = form_faults(entry.facts, entry.images, entry.detections, board.samples)
    if not found:
        found = faults_of(entry.facts, entry.images, board.matched)
    mine, first = (e.facts["protocol"]["hash"] for e in (entry, board.entries[0]))
    if mine != first:
        found.append(f"mixed protocols: {mine}, the first entry has another")
    return [f"entry {entry.label}: {fault}" for fault in found]


def _contradictions(board: Board) -> list[str]:
    """Entries whose scores are not what their own detections give, by the metrics that need nothing else."""
    if not board.entries:
        return []
    first = board.entries[0].facts
    versions = {m["name"]: m["version"] for m in first["metrics"]}
    again = [
        m for m in all_metrics(first["protocol"]["parts"]["stack"]["names"])
        if m.info.name in DETECTED and versions.get(m.info.name) == m.info.version
    ]  # fmt: skip
    samples = [sample_from_json(s) for s in board.samples]
    found = []
    for entry in board.entries:
        evidence, outcomes = restore(samples, entry)
        for metric in again:
            told = [o.outcome for o in outcomes[metric.info.name]]
            given = [o.outcome for o in metric.outcomes(evidence)]
            wrong = sum(not _alike(a, b) for a, b in zip(told, given, strict=True))
            if wrong:
                found.append(
                    f"entry {entry.label}: {metric.info.name} of {wrong} images is not what its detections give"
                )
    return found


def _alike(told: Outcome, given: Outcome) -> bool:
    if isinstance(told, Score) and isinstance(given, Score):
        return abs(told.value - given.value) <= NEAR
    return type(told) is type(given)


def _implausible(table: dict[str, Any]) -> list[str]:
    """Methods whose whole interval lies above that of the true pictures."""
    found = []
    for track, part in table["tracks"].items():
        references = {m["name"] for m in part["methods"] if m["track"] == REFERENCE}
        most = {r["metric"]: r["high"] for r in part["rows"] if r["method"] == CEILING and r["high"] is not None}
        for row in part["rows"]:
            bound = most.get(row["metric"])
            if row["method"] in references or row["metric"] not in BOUNDED or bound is None or row["low"] is None:
                continue
            if row["low"] > bound:
                found.append(
                    f"{row['method']} ({track}): implausible {row['metric']}: {row['low']:.3f} or more, true pictures "
                    f"{bound:.3f} at most"
                )
    return found


def _drift(board: Board, table: dict[str, Any]) -> list[str]:
    """Files that `build` would write otherwise."""
    found = []
    for name, write in FILES.items():
        path = board.folder / name
        if not path.is_file():
            found.append(f"{name}: missing. Run: layoutmark leaderboard build")
        elif path.read_bytes() != write(table).encode("utf-8"):
            found.append(f"{name}: not what the entries give. Run: layoutmark leaderboard build")
    return found
