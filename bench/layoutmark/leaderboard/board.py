"""The table of a board, computed from its entries alone: rows, paired differences, ties, ranks, history."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from layoutmark.api import Metric
from layoutmark.atomic import write_text
from layoutmark.compare.pairs import all_pairs
from layoutmark.compare.ranking import all_ranks, all_ties
from layoutmark.compare.rows import LEVEL, Resamples, result_row
from layoutmark.compare.stored_runs import restored
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.layout import Sample, sample_from_json
from layoutmark.leaderboard.entry import AUTHORS, MATCHED, REFERENCE, Board, Entry, open_board
from layoutmark.leaderboard.entry_validation import refuse_odd
from layoutmark.leaderboard.pages import as_html, as_json, as_markdown
from layoutmark.metrics import HEADLINE, SetMetric, all_metrics, summary

DIGITS = 6
"""Decimals of every number of a board: machines differ in the last bits of a double."""
FILES = {"board.json": as_json, "README.md": as_markdown, "index.html": as_html}
Restored = tuple[list[Evidence], dict[str, list[SampleOutcome]]]


def build_board(folder: Path) -> dict[str, Any]:
    """Write README.md, index.html and board.json of a board; returns the content of board.json.

    Equal entries give equal bytes.  Raises LayoutmarkError for an entry that is not what `submit` writes; whether the
    entries are the right ones is for `check_board` to say.
    """
    with _no_collection():
        board = open_board(folder)
        for entry in board.entries:
            refuse_odd(entry, board.samples)
        table = computed(board)
    for name, write in FILES.items():
        write_text(folder / name, write(table))
    return table


@contextmanager
def _no_collection() -> Iterator[None]:
    """What a board reads lives until it is written; searching it for cycles takes a sixth of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def computed(board: Board) -> dict[str, Any]:
    """All that a board shows, as plain data with rounded numbers."""
    first = board.entries[0].facts if board.entries else {}
    samples = [sample_from_json(s) for s in board.samples] if board.entries else []
    held = {e.number: restore(samples, e) for e in board.entries}
    metrics = _metrics(first) if first else []
    resamples = Resamples()
    tracks = {
        track: _track(track, [e for e in board.current if e.track in (track, REFERENCE)], held, metrics, resamples)
        for track in (AUTHORS, MATCHED)
        if any(e.track == track for e in board.current)
    }
    data: dict[str, Any] = {
        "board": board.name,
        "matched": dict(board.matched),
        "protocol": first.get("protocol", {}),
        "chain": [{"entry": e.label, "sha256": e.own_digest} for e in board.entries],
        "metrics": list(first.get("metrics", [])),
        "tracks": tracks,
        "history": _history(board, held, metrics, resamples),
    }
    rounded: dict[str, Any] = _rounded(data)
    return rounded


def restore(samples: Sequence[Sample], entry: Entry) -> Restored:
    """Detections and outcomes of an entry on the board's samples, image by image."""
    results = {"samples": samples, "images": entry.images, "metrics": entry.facts["metrics"]}
    return restored(results, entry.detections)[entry.name]


def _metrics(facts: Mapping[str, Any]) -> list[Metric]:
    names = facts["protocol"]["parts"]["stack"]["names"]
    return [m for m in all_metrics(names) if m.info.name in HEADLINE]


def _track(
    track: str, entries: Sequence[Entry], held: Mapping[int, Restored], metrics: Sequence[Metric], resamples: Resamples
) -> dict[str, Any]:
    rows = [
        result_row(e.name, m, held[e.number][0], held[e.number][1][m.info.name], resamples)
        for e in entries
        for m in metrics
    ]
    rated = {e.name: held[e.number] for e in entries if e.track == track}
    evidence = {name: found for name, (found, _) in rated.items()}
    outcomes = {name: found for name, (_, found) in rated.items()}
    pairs = all_pairs(evidence, outcomes, metrics, resamples)
    ties = all_ties(rows, pairs, list(rated), metrics)
    return {
        "methods": [_method(e) for e in entries],
        "rows": rows,
        "pairs": pairs,
        "ties": ties,
        "ranks": all_ranks(evidence, outcomes, pairs, ties, metrics, resamples),
    }


def _method(entry: Entry) -> dict[str, Any]:
    facts, row = entry.facts, entry.facts["row"]
    return {
        "entry": entry.number, "name": entry.name, "kind": row["kind"], "title": row["title"],
        "version": row["version"], "inputs": row["inputs"],
        "track": entry.track, "settings": row["settings"], "code": row["code"], "weights": row["weights"],
        "deviations": row["deviations"], "overrides": facts["overrides"], "because": facts["because"],
        "counts": row["counts"], "seconds_per_image": facts["seconds_per_image"],
        "drawn_on": facts.get("drawn_on", {}),
    }  # fmt: skip


def _history(
    board: Board, held: Mapping[int, Restored], metrics: Sequence[Metric], resamples: Resamples
) -> list[dict[str, Any]]:
    """Per method and track with more than one entry: values over entries, and where they changed.

    A change is a paired interval of new - old, on the images both have, that does not hold zero (Holm over all).
    """
    found = []
    for key in dict.fromkeys(e.row_key for e in board.entries):
        line = [e for e in board.entries if e.row_key == key]
        if len(line) < 2:
            continue
        values = [{m.info.name: _value(m, *held[e.number], resamples) for m in metrics} for e in line]
        changes = []
        for old, new in pairwise(line):
            both = {"new": held[new.number], "old": held[old.number]}
            pairs = all_pairs(
                {k: v[0] for k, v in both.items()}, {k: v[1] for k, v in both.items()}, metrics, resamples
            )
            changes += [
                {"entry": new.number, "metric": p["metric"], "difference": p["difference"], "low": p["low"],
                 "high": p["high"]}
                for p in pairs if p["p_holm"] is not None and p["p_holm"] < 1 - LEVEL
            ]  # fmt: skip
        entries = [{"entry": e.number, "version": e.facts["row"]["version"], "values": v}
                   for e, v in zip(line, values, strict=True)]  # fmt: skip
        found.append({"track": key[0], "name": key[1], "entries": entries, "changes": changes})
    return found


def _value(
    metric: Metric,
    evidence: Sequence[Evidence],
    outcomes: Mapping[str, list[SampleOutcome]],
    resamples: Resamples,
) -> float | None:
    if isinstance(metric, SetMetric):
        return resamples.of(metric, evidence)[0]
    return summary(outcomes[metric.info.name]).value


def _rounded(data: Any) -> Any:
    if isinstance(data, float):
        return round(data, DIGITS) + 0.0  # no negative zero
    if isinstance(data, Mapping):
        return {key: _rounded(value) for key, value in data.items()}
    return [_rounded(value) for value in data] if isinstance(data, list | tuple) else data
