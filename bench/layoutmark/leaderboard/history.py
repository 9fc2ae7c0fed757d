"""The history of a method on a board: each metric from its first entry to its newest, and where it changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from layoutmark.plurals import counted

Table = Mapping[str, Any]
WIDTH_PIXELS, HEIGHT_PIXELS, MARGIN_PIXELS = 150, 44, 7
Point = tuple[float, float]


class ScoreText(NamedTuple):
    """A score as text; `interval` stays on one line, `suffix` follows it."""

    value: str
    interval: str = ""
    suffix: str = ""
    is_best: bool = False


class HistoryRow(NamedTuple):
    """One entry with a cell per metric."""

    entry: str
    version: str
    cells: list[ScoreText]


class Sparkline(NamedTuple):
    """The values of one metric as points in pixels, from the upper left corner."""

    points: list[Point]
    changed_points: list[Point]
    label: str


def history_rows(table: Table, line: Table) -> list[HistoryRow]:
    """One row per entry of `line`, an item of the table's history; a changed value shows the paired difference."""
    changes = {(c["entry"], c["metric"]): c for c in line["changes"]}
    return [
        HistoryRow(
            f"{entry['entry']:04d}",
            str(entry["version"]),
            [
                _format_value(entry["values"].get(m["name"]), changes.get((entry["entry"], m["name"])))
                for m in table["metrics"]
            ],
        )
        for entry in line["entries"]
    ]


def _format_value(value: float | None, change: Table | None) -> ScoreText:
    text = "not scored" if value is None else f"{value:.3f}"
    if change is None:
        return ScoreText(text)
    return ScoreText(f"{text} changed {change['difference']:+.3f}", f"[{change['low']:.3f}, {change['high']:.3f}]")


def make_sparkline(line: Table, metric: Table) -> Sparkline | None:
    """The values of `metric` from left to right; None with fewer than two."""
    name, entries = metric["name"], line["entries"]
    values = [(k, float(v)) for k, e in enumerate(entries) if (v := e["values"].get(name)) is not None]
    if len(values) < 2:
        return None
    changed = {c["entry"] for c in line["changes"] if c["metric"] == name}
    low, high = min(v for _, v in values), max(v for _, v in values)

    def locate(k: int, value: float) -> Point:
        x = MARGIN_PIXELS + (WIDTH_PIXELS - 2 * MARGIN_PIXELS) * k / (len(entries) - 1)
        share = (value - low) / (high - low) if high > low else 0.5
        return round(x, 1), round(HEIGHT_PIXELS - MARGIN_PIXELS - (HEIGHT_PIXELS - 2 * MARGIN_PIXELS) * share, 1)

    changed_points = [locate(k, v) for k, v in values if entries[k]["entry"] in changed]
    changes = counted(len(changed_points), "change")
    label = f"{metric['title']} over {len(entries)} entries, {changes}"
    return Sparkline([locate(k, v) for k, v in values], changed_points, label)
