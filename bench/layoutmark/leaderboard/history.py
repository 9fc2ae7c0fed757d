"""A board over its entries: each metric of a method from its first entry to its newest, and where it changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Table = Mapping[str, Any]
WIDTH, HEIGHT, EDGE = 150, 44, 7
"""Pixels of one drawing, and of the room around it."""


def heads(table: Table) -> list[str]:
    """Names of the columns: entry, version, one a metric."""
    return ["entry", "version", *(m["title"] for m in table["metrics"])]


def rows(table: Table, line: Table) -> list[list[str]]:
    """One row an entry: its number, version and values, with the paired difference where a value changed."""
    changes = {(c["entry"], c["metric"]): c for c in line["changes"]}
    found = []
    for entry in line["entries"]:
        cells = [f"{entry['entry']:04d}", str(entry["version"])]
        for metric in table["metrics"]:
            value, change = entry["values"].get(metric["name"]), changes.get((entry["entry"], metric["name"]))
            told = "not scored" if value is None else f"{value:.3f}"
            if change is not None:
                told += f" changed {change['difference']:+.3f} [{change['low']:.3f}, {change['high']:.3f}]"
            cells.append(told)
        found.append(cells)
    return found


def drawing(line: Table, metric: Table) -> str:
    """The values of one metric as an SVG line; a ring marks an entry that changed it.  Empty without two values."""
    name = metric["name"]
    values = [(k, e["values"].get(name)) for k, e in enumerate(line["entries"])]
    known = [(k, float(v)) for k, v in values if v is not None]
    if len(known) < 2:
        return ""
    low, high = min(v for _, v in known), max(v for _, v in known)
    changed = {c["entry"] for c in line["changes"] if c["metric"] == name}

    def place(k: int, value: float) -> tuple[float, float]:
        across = EDGE + (WIDTH - 2 * EDGE) * k / (len(values) - 1)
        share = (value - low) / (high - low) if high > low else 0.5
        return round(across, 1), round(HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * share, 1)

    points = [place(k, v) for k, v in known]
    rings = [place(k, v) for k, v in known if line["entries"][k]["entry"] in changed]
    path = " ".join(f"{x},{y}" for x, y in points)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="2" fill="currentColor"/>' for x, y in points)
    marks = "".join(f'<circle cx="{x}" cy="{y}" r="5" fill="none" stroke="currentColor"/>' for x, y in rings)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="{_label(line, metric, rings)}">'
        f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-opacity=".5"/>{dots}{marks}</svg>'
    )


def _label(line: Table, metric: Table, rings: Sequence[object]) -> str:
    # Titles of metrics are this project's own; the name of the method stands in the heading above.
    changes = f"{len(rings)} change{'' if len(rings) == 1 else 's'}"
    return f"{metric['title']} over {len(line['entries'])} entries, {changes}"
