"""The content of a board's pages, in the form that Markdown and HTML share."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from layoutmark.leaderboard.entry import AUTHORS, MATCHED, REFERENCE
from layoutmark.leaderboard.history import HistoryRow, ScoreText, Sparkline, history_rows, make_sparkline
from layoutmark.score import controls_layout, measures_layout

TRACK_TITLES = {AUTHORS: "Authors' settings", MATCHED: "Matched settings"}
# Names are untrusted text: these characters could break a line or reverse its direction.
INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
Table = Mapping[str, Any]


class TrackRow(NamedTuple):
    """One row of a track."""

    name: str
    cells: list[ScoreText]
    seconds: str
    is_reference: bool


class TrackPage(NamedTuple):
    """A track: a sentence on its settings (empty if each method has its own), its table, and footnotes."""

    title: str
    settings: str
    metric_heads: list[str]
    rows: list[TrackRow]
    notes: list[str]


class HistoryPage(NamedTuple):
    """The entries of one method, with a sparkline per metric."""

    title: str
    rows: list[HistoryRow]
    sparklines: list[Sparkline | None]


class BoardPage(NamedTuple):
    """Everything that a page shows; `protocol` is empty without entries."""

    board: str
    protocol: str
    tracks: list[TrackPage]
    metric_titles: list[str]
    histories: list[HistoryPage]


def make_page(table: Table) -> BoardPage:
    """The content for the data of a board, as `compute_table` returns them."""
    return BoardPage(
        board=replace_invisible(table["board"]),
        protocol=_describe_protocol(table),
        tracks=[_make_track(table, track, data) for track, data in table["tracks"].items()],
        metric_titles=[replace_invisible(m["title"]) for m in table["metrics"]],
        histories=[_make_history(table, line) for line in table["history"]],
    )


def replace_invisible(text: Any) -> str:
    """Text with control and direction characters replaced by U+FFFD."""
    return INVISIBLE.sub("\ufffd", str(text))


def _describe_protocol(table: Table) -> str:
    parts = table["protocol"].get("parts")
    if not parts:
        return ""
    suite, stack = parts["suite"], parts["stack"]
    limit = "" if suite["limit"] is None else f", first {suite['limit']} samples"
    return replace_invisible(
        f"Suite {suite['name']} {suite['version']}{limit}, stack {stack['name']}, seeds "
        f"{', '.join(map(str, parts['seeds']))}, protocol {table['protocol']['hash']}."
    )


def _make_track(table: Table, track: str, data: Table) -> TrackPage:
    metrics = table["metrics"]
    heads = [f"{replace_invisible(m['title'])} {'↑' if m['higher_is_better'] else '↓'}" for m in metrics]
    rows = [_make_row(data, method, metrics) for method in _rank(data, metrics)]
    return TrackPage(TRACK_TITLES[track], _describe_settings(table, track), heads, rows, _list_notes(data))


def _describe_settings(table: Table, track: str) -> str:
    """The settings that all methods of the matched track share."""
    if track != MATCHED:
        return ""
    settings = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in sorted(table["matched"].items())]
    return replace_invisible(
        f"Settings of every method here: {', '.join(settings)}. Ties are computed within this track."
    )


def _rank(data: Table, metrics: Sequence[Table]) -> list[Table]:
    """Methods by their tie group on the first metric, then reference rows."""
    order = [name for group in data["ties"].get(metrics[0]["name"], []) for name in group]
    return sorted(
        data["methods"],
        key=lambda m: (m["track"] == REFERENCE, order.index(m["name"]) if m["name"] in order else len(order)),
    )


def _make_row(data: Table, method: Table, metrics: Sequence[Table]) -> TrackRow:
    rows = {r["metric"]: r for r in data["rows"] if r["method"] == method["name"]}
    cells = []
    for metric in metrics:
        is_best = method["name"] in (data["ties"].get(metric["name"]) or [[]])[0]
        is_uncontrolled = measures_layout(metric["name"]) and not controls_layout(method)
        cells.append(_format_score(rows[metric["name"]], is_best=is_best, is_uncontrolled=is_uncontrolled))
    seconds = method["seconds_per_image"]
    seconds_text = "" if seconds is None else f"{seconds:.2f}"
    return TrackRow(replace_invisible(method["name"]), cells, seconds_text, method["track"] == REFERENCE)


def _format_score(row: Table, *, is_best: bool, is_uncontrolled: bool) -> ScoreText:
    suffix = ", not controlled" if is_uncontrolled else ""
    if row["value"] is None:
        reasons = ", ".join(f"{n} {replace_invisible(reason)}" for reason, n in sorted(row["unscored"].items()))
        return ScoreText(f"not scored: {reasons or 'no reason given'}", suffix=suffix)
    interval = "" if row["low"] is None else f"[{row['low']:.3f}, {row['high']:.3f}]"
    count = "" if row["n"] == row["of"] else f" {row['n']} of {row['of']}"
    return ScoreText(f"{row['value']:.3f}", interval, count + suffix, is_best)


def _list_notes(data: Table) -> list[str]:
    """Footnotes: methods without layout control, devices, deviations from papers, overridden settings."""
    notes = []
    if uncontrolled := [m["name"] for m in data["methods"] if not controls_layout(m)]:
        notes.append(
            f"not controlled (no layout is read): {', '.join(uncontrolled)}; "
            "layout scores show what the prompt alone reaches"
        )
    notes += [f"generated on {device}: {', '.join(names)}" for device, names in sorted(_names_by_device(data).items())]
    for method in data["methods"]:
        if method["deviations"]:
            notes.append(
                f"{method['name']} deviates from its paper: {', '.join(d['id'] for d in method['deviations'])}"
            )
        if method["overrides"]:
            settings = ", ".join(f"{key} = {value}" for key, value in sorted(method["overrides"].items()))
            notes.append(f"{method['name']}: {settings} ({method['because']})")
    return [replace_invisible(note) for note in notes]


def _names_by_device(data: Table) -> dict[str, list[str]]:
    """Names of methods by the devices that generated their images; entries without devices are left out."""
    names: dict[str, list[str]] = {}
    for method in data["methods"]:
        for device in method["drawn_on"]:
            names.setdefault(device, []).append(method["name"])
    return names


def _make_history(table: Table, line: Table) -> HistoryPage:
    track = str(TRACK_TITLES.get(line["track"], line["track"])).lower()
    sparklines = [make_sparkline(line, metric) for metric in table["metrics"]]
    return HistoryPage(replace_invisible(f"{line['name']} ({track})"), history_rows(table, line), sparklines)
