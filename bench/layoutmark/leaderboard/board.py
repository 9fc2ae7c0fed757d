"""The table of a board, computed only from its entries: rows, paired differences, ties, ranks, history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from layoutmark.api import Metric
from layoutmark.atomic import write_text
from layoutmark.compare.pairs import paired_differences
from layoutmark.compare.ranking import rank_methods, tied_methods
from layoutmark.compare.rows import CONFIDENCE_LEVEL, ResampleCache, result_row
from layoutmark.compare.stored_runs import restore_results
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.garbage_collection import paused_garbage_collection
from layoutmark.layout import Sample, sample_from_json
from layoutmark.leaderboard.entry import AUTHORS, MATCHED, REFERENCE, Board, Entry, open_board
from layoutmark.leaderboard.entry_validation import check_entry
from layoutmark.leaderboard.pages import render_html, render_json, render_markdown
from layoutmark.metrics import HEADLINE_METRICS, SetMetric, all_metrics, summarise_outcomes

DECIMALS = 6
"""Of every number on a board: machines differ in the last bits of a double."""
RENDERERS = {"board.json": render_json, "README.md": render_markdown, "index.html": render_html}
RestoredEntry = tuple[list[Evidence], dict[str, list[SampleOutcome]]]
"""Evidence, and outcomes by metric, both image by image."""


def build_board(folder: Path) -> dict[str, Any]:
    """Write README.md, index.html and board.json of a board; returns the content of board.json.

    Equal entries give equal bytes.  Raises LayoutmarkError for an entry that `submit` would not have written.  Whether
    the chain of entries is intact is checked by `check_board`.
    """
    with paused_garbage_collection():
        board = open_board(folder)
        for entry in board.entries:
            check_entry(entry, board.samples)
        table = compute_table(board)
    for name, render in RENDERERS.items():
        write_text(folder / name, render(table))
    return table


def compute_table(board: Board) -> dict[str, Any]:
    """The content of board.json: plain data with rounded numbers."""
    first_facts = board.entries[0].facts if board.entries else {}
    samples = [sample_from_json(s) for s in board.samples] if board.entries else []
    restored = {e.number: restore_entry(samples, e) for e in board.entries}
    metrics = _headline_metrics(first_facts) if first_facts else []
    resamples = ResampleCache()
    tracks = {
        track: _compute_track(
            track, [e for e in board.current if e.track in (track, REFERENCE)], restored, metrics, resamples
        )
        for track in (AUTHORS, MATCHED)
        if any(e.track == track for e in board.current)
    }
    data: dict[str, Any] = {
        "board": board.name,
        "matched": dict(board.matched),
        "protocol": first_facts.get("protocol", {}),
        "chain": [{"entry": e.label, "sha256": e.entry_digest} for e in board.entries],
        "metrics": list(first_facts.get("metrics", [])),
        "tracks": tracks,
        "history": _compute_history(board, restored, metrics, resamples),
    }
    table: dict[str, Any] = _round(data)
    return table


def restore_entry(samples: Sequence[Sample], entry: Entry) -> RestoredEntry:
    """Evidence and outcomes of an entry on the board's samples, image by image."""
    results = {"samples": samples, "images": entry.images, "metrics": entry.facts["metrics"]}
    return restore_results(results, entry.detections)[entry.name]


def _headline_metrics(facts: Mapping[str, Any]) -> list[Metric]:
    names = facts["protocol"]["parts"]["stack"]["names"]
    return [m for m in all_metrics(names) if m.info.name in HEADLINE_METRICS]


def _compute_track(
    track: str,
    entries: Sequence[Entry],
    restored: Mapping[int, RestoredEntry],
    metrics: Sequence[Metric],
    resamples: ResampleCache,
) -> dict[str, Any]:
    rows = [
        result_row(e.name, m, restored[e.number][0], restored[e.number][1][m.info.name], resamples)
        for e in entries
        for m in metrics
    ]
    ranked = {e.name: restored[e.number] for e in entries if e.track == track}
    evidence = {name: evidence for name, (evidence, _) in ranked.items()}
    outcomes = {name: outcomes for name, (_, outcomes) in ranked.items()}
    pairs = paired_differences(evidence, outcomes, metrics, resamples)
    ties = tied_methods(rows, pairs, list(ranked), metrics)
    return {
        "methods": [_describe_method(e) for e in entries],
        "rows": rows,
        "pairs": pairs,
        "ties": ties,
        "ranks": rank_methods(evidence, outcomes, pairs, ties, metrics, resamples),
    }


def _describe_method(entry: Entry) -> dict[str, Any]:
    facts, row = entry.facts, entry.facts["row"]
    return {
        "entry": entry.number, "name": entry.name, "kind": row["kind"], "title": row["title"],
        "version": row["version"], "inputs": row["inputs"],
        "track": entry.track, "settings": row["settings"], "code": row["code"], "weights": row["weights"],
        "deviations": row["deviations"], "overrides": facts["overrides"], "because": facts["because"],
        "counts": row["counts"], "seconds_per_image": facts["seconds_per_image"],
        "drawn_on": facts.get("drawn_on", {}),
    }  # fmt: skip


def _compute_history(
    board: Board, restored: Mapping[int, RestoredEntry], metrics: Sequence[Metric], resamples: ResampleCache
) -> list[dict[str, Any]]:
    """Values over entries and their changes, per method and track with more than one entry.

    A change is a paired interval of new - old, on the images that both have, that excludes zero (Holm over all).
    """
    histories = []
    for key in dict.fromkeys(e.row_key for e in board.entries):
        versions = [e for e in board.entries if e.row_key == key]
        if len(versions) < 2:
            continue
        values = [{m.info.name: _value(m, *restored[e.number], resamples) for m in metrics} for e in versions]
        changes = []
        for old, new in pairwise(versions):
            both = {"new": restored[new.number], "old": restored[old.number]}
            pairs = paired_differences(
                {k: v[0] for k, v in both.items()}, {k: v[1] for k, v in both.items()}, metrics, resamples
            )
            changes += [
                {"entry": new.number, "metric": p["metric"], "difference": p["difference"], "low": p["low"],
                 "high": p["high"]}
                for p in pairs if p["p_holm"] is not None and p["p_holm"] < 1 - CONFIDENCE_LEVEL
            ]  # fmt: skip
        entries = [{"entry": e.number, "version": e.facts["row"]["version"], "values": v}
                   for e, v in zip(versions, values, strict=True)]  # fmt: skip
        histories.append({"track": key[0], "name": key[1], "entries": entries, "changes": changes})
    return histories


def _value(
    metric: Metric,
    evidence: Sequence[Evidence],
    outcomes: Mapping[str, list[SampleOutcome]],
    resamples: ResampleCache,
) -> float | None:
    if isinstance(metric, SetMetric):
        return resamples.value_and_deviations(metric, evidence)[0]
    return summarise_outcomes(outcomes[metric.info.name]).value


def _round(data: Any) -> Any:
    if isinstance(data, float):
        return round(data, DECIMALS) + 0.0  # no negative zero
    if isinstance(data, Mapping):
        return {key: _round(value) for key, value in data.items()}
    return [_round(value) for value in data] if isinstance(data, list | tuple) else data
