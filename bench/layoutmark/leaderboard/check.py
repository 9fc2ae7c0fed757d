"""Checks that a board is what its entries give, and that its entries are valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from layoutmark.errors import LayoutmarkError
from layoutmark.layout import sample_from_json
from layoutmark.leaderboard.board import RENDERERS, compute_table, restore_entry
from layoutmark.leaderboard.entry import (
    GENESIS_DIGEST,
    REFERENCE,
    SAMPLES_FILE,
    Board,
    Entry,
    file_digest,
    open_board,
)
from layoutmark.leaderboard.entry_validation import find_entry_problems
from layoutmark.leaderboard.rules import find_rule_violations
from layoutmark.metrics import all_metrics
from layoutmark.plurals import counted
from layoutmark.score import Outcome, Score

CEILING = "ceiling"
BOUNDED_METRICS = ("ap50", "miou", "clip_i", "dino")
"""No method can truly be better than the true images on these."""
RECOMPUTED_METRICS = ("ap50", "miou")
"""Headline metrics of single images that depend on the stored detections only."""
SCORE_TOLERANCE = 1e-6
"""Machines differ in the last bits."""


def check_board(folder: Path) -> list[str]:
    """All problems of a board, each with the entry or file it concerns."""
    problems: list[str] = []
    try:
        board = open_board(folder)
        problems += _check_chain(board)
        problems += [problem for e in board.entries for problem in _check_entry(board, e)]
        if problems:
            return problems
        table = compute_table(board)
    except LayoutmarkError as error:
        return [*problems, str(error)]
    return [*_check_scores(board), *_check_plausibility(table), *_check_pages(board, table)]


def _check_chain(board: Board) -> list[str]:
    """Entries are numbered without gaps, each names its predecessor, and their files are unchanged."""
    problems, previous = [], GENESIS_DIGEST
    for number, entry in enumerate(board.entries, start=1):
        if entry.number != number:
            problems.append(f"entry {number:04d}: missing before {entry.label}")
        if entry.facts["previous"] != previous:
            problems.append(
                f"entry {entry.label}: does not follow the entry before it: that one was edited or is missing"
            )
        previous = entry.entry_digest
        files = {entry.folder / name: digest for name, digest in entry.facts["files"].items()}
        files[board.folder / SAMPLES_FILE] = entry.facts["samples"]
        for path, digest in files.items():
            if not path.is_file():
                problems.append(f"entry {entry.label}: no {path.name}")
            elif file_digest(path) != digest:
                problems.append(f"entry {entry.label}: {path.name} edited after submission")
    return problems


def _check_entry(board: Board, entry: Entry) -> list[str]:
    problems = find_entry_problems(entry.facts, entry.images, entry.detections, board.samples)
    if not problems:
        problems = find_rule_violations(entry.facts, entry.images, board.matched)
    protocol, board_protocol = (e.facts["protocol"]["hash"] for e in (entry, board.entries[0]))
    if protocol != board_protocol:
        problems.append(f"mixed protocols: {protocol}, but {board_protocol} in the first entry")
    return [f"entry {entry.label}: {problem}" for problem in problems]


def _check_scores(board: Board) -> list[str]:
    """Scores of each entry agree with its own detections, on the metrics that need nothing else."""
    if not board.entries:
        return []
    first_facts = board.entries[0].facts
    versions = {m["name"]: m["version"] for m in first_facts["metrics"]}
    metrics = [
        m for m in all_metrics(first_facts["protocol"]["parts"]["stack"]["names"])
        if m.info.name in RECOMPUTED_METRICS and versions.get(m.info.name) == m.info.version
    ]  # fmt: skip
    samples = [sample_from_json(s) for s in board.samples]
    problems = []
    for entry in board.entries:
        evidence, outcomes = restore_entry(samples, entry)
        for metric in metrics:
            stored = [o.outcome for o in outcomes[metric.info.name]]
            recomputed = [o.outcome for o in metric.outcomes(evidence)]
            wrong = sum(not _agree(a, b) for a, b in zip(stored, recomputed, strict=True))
            if wrong:
                images = counted(wrong, "image")
                problems.append(
                    f"entry {entry.label}: {metric.info.name} of {images} does not follow from its detections"
                )
    return problems


def _agree(stored: Outcome, recomputed: Outcome) -> bool:
    if isinstance(stored, Score) and isinstance(recomputed, Score):
        return abs(stored.value - recomputed.value) <= SCORE_TOLERANCE
    return type(stored) is type(recomputed)


def _check_plausibility(table: dict[str, Any]) -> list[str]:
    """No interval of a method lies completely above that of the true images."""
    problems = []
    for track, data in table["tracks"].items():
        references = {m["name"] for m in data["methods"] if m["track"] == REFERENCE}
        bounds = {r["metric"]: r["high"] for r in data["rows"] if r["method"] == CEILING and r["high"] is not None}
        for row in data["rows"]:
            bound = bounds.get(row["metric"])
            if (
                row["method"] in references
                or row["metric"] not in BOUNDED_METRICS
                or bound is None
                or row["low"] is None
            ):
                continue
            if row["low"] > bound:
                problems.append(
                    f"{row['method']} ({track}): implausible {row['metric']}: at least {row['low']:.3f}, "
                    f"true images at most {bound:.3f}"
                )
    return problems


def _check_pages(board: Board, table: dict[str, Any]) -> list[str]:
    """Every page is byte for byte what `build_board` would write."""
    problems = []
    for name, render in RENDERERS.items():
        path = board.folder / name
        if not path.is_file():
            problems.append(f"{name}: missing. Run: layoutmark leaderboard build")
        elif path.read_bytes() != render(table).encode("utf-8"):
            problems.append(f"{name}: differs from what the entries give. Run: layoutmark leaderboard build")
    return problems
