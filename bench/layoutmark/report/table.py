"""The table of a run in the terminal, and the same rows as a data frame."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from layoutmark.metrics import HEADLINE
from layoutmark.score import controls_layout, measures_layout

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "method", "metric", "variant", "value", "low", "high", "worst", "n", "of", "unit", "higher_is_better", "unscored",
)  # fmt: skip
STATES = ("ok", "degenerate", "filtered", "not_applicable", "failed", "missing")
WIDTH = 14
"""Characters of an interval, and of a line of a reason."""
FILES = ("results.json", "results.csv", "report/index.html")
MOST = 3
"""Reasons of a method that are printed."""
OLD = " (of an earlier measurement; layoutmark report {run} writes it anew)"
_PLAIN: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}
# Names come from files: a control character must not reach the terminal, nor turn the line around.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def print_table(results: Mapping[str, Any], console: Console, run: Path | None = None) -> None:
    """Print methods by headline metrics with 95 % intervals, counts of images, and the files below `run`.

    On a terminal a table, the best tie group in bold, in as many blocks of columns as the width asks for; in a log, or
    when not even that fits, one plain line a number.
    """
    console.print(_clean(_title(results)), style="bold", **_PLAIN)
    for note in results["suite"].get("notes") or ():
        console.print(_clean(note), **_PLAIN)
    for method, reason in (results.get("left_out") or {}).items():
        console.print(_clean(f"left out: {method} ({reason})"), **_PLAIN)
    tables = _fitting(results, console) if console.is_terminal else []
    for table in tables:
        console.print(table)
    if not tables:
        _print_lines(results, console)
    if len(tables) != 1:
        for method in results["methods"]:
            text = f"{_clean(method['name'])}: {_states(method)}"
            console.print(text, **_PLAIN)
    for note in (*_reasons(results), *_adversaries(results)):
        console.print(_clean(note), **_PLAIN)
    if features := results.get("times", {}).get("features"):
        text = f"features: {features['stored']:,} were stored, {features['computed']:,} computed now"
        console.print(text, **_PLAIN)
    there = [run / file for file in FILES if run is not None and (run / file).is_file()]
    for path in there:
        old = path.stat().st_mtime_ns < there[0].stat().st_mtime_ns
        console.print(_clean(path) + (OLD.format(run=_clean(run)) if old else ""), **_PLAIN)


def _reasons(results: Mapping[str, Any]) -> list[str]:
    """Why images of methods are not as asked for, the most frequent reasons first, `MOST` a method."""
    found = []
    for method in results["methods"]:
        reasons = sorted((method.get("reasons") or {}).items(), key=lambda item: (-item[1], item[0]))
        if method.get("kind") != "reference":
            found += [f"{method['name']}: {number} x {reason}" for reason, number in reasons[:MOST]]
            found += [f"{method['name']}: {len(reasons) - MOST} more in {FILES[0]}"] * (len(reasons) > MOST)
    return found


def _adversaries(results: Mapping[str, Any]) -> list[str]:
    """Columns that an adversary leads; nothing for results that know of none."""
    titles = {m["name"]: m["title"] for m in results["metrics"]}
    return [
        f"{titles.get(found['metric'], found['metric'])}: {found['row']} leads every method with {found['value']:.3f}"
        + (", and the true images" if found["above_ceiling"] else "")
        + "; read this column beside the others"
        for found in results.get("adversaries_ahead") or ()
    ]


def rows_frame(results: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of `results`, one line a method and metric.

    `value`, `low`, `high` and `worst` are float64, NaN where not scored; `unscored` is JSON, reason to count.
    """
    import pandas as pd

    rows = [{key: row.get(key) for key in COLUMNS} for row in results["rows"]]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["unscored"] = [json.dumps(row.get("unscored") or {}, sort_keys=True) for row in results["rows"]]
    return frame.astype(dict.fromkeys(("value", "low", "high", "worst"), "float64") | {"n": "int64", "of": "int64"})


def _title(results: Mapping[str, Any]) -> str:
    suite, stack, seeds = results["suite"], results["stack"], results["seeds"]
    return (
        f"{results['name']}: suite {suite['name']}, {len(results['samples'])} samples, "
        f"seeds {', '.join(map(str, seeds))}, stack {stack['name']}, protocol {results['protocol']['hash']}"
    )


def _metrics(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    by_name = {m["name"]: m for m in results["metrics"]}
    return [by_name[n] for n in HEADLINE if n in by_name] or list(by_name.values())


def _fitting(results: Mapping[str, Any], console: Console) -> list[Table]:
    """The fewest blocks of columns that fit the console, as wide set as possible; empty if nothing fits."""
    metrics = _metrics(results)
    for blocks in range(1, len(metrics) + 1):
        size = -(-len(metrics) // blocks)
        for gap in (3, 1):
            tables = [
                _table(results, metrics[k : k + size], gap, counts=blocks == 1) for k in range(0, len(metrics), size)
            ]
            options = console.options.update(max_width=10_000)
            if all(Measurement.get(console, options, table).maximum <= console.width for table in tables):
                return tables
    return []


def _table(results: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], gap: int, *, counts: bool) -> Table:
    rows = {(r["method"], r["metric"]): r for r in results["rows"]}
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    table.add_column("method", no_wrap=True)
    for metric in metrics:
        arrow = "\u2191" if metric["higher_is_better"] else "\u2193"
        table.add_column(f"{_clean(metric['title'])} {arrow}", justify="right", no_wrap=True)
    if counts:
        table.add_column("images", no_wrap=True)
    for kind in ("method", "reference"):
        for method in results["methods"]:
            if (method.get("kind") == "reference") != (kind == "reference"):
                continue
            cells = [
                _cell(rows.get((method["name"], m["name"])), _is_best(results, method, m), _free(method, m["name"]))
                for m in metrics
            ]
            name = Text(_clean(method["name"]))
            states = [Text(_states(method).replace(", ", "\n"))] if counts else []
            table.add_row(name, *cells, *states, style="dim" if kind == "reference" else "")
        table.add_row()
    return table


def _cell(row: Mapping[str, Any] | None, best: bool, free: str) -> Text:
    value, span, few = _parts(row)
    cell = Text(value, style="bold" if best else "")
    for line in (*textwrap.wrap(span, max(WIDTH, 0 if value == "not scored" else len(span))), *few.split("; "), free):
        if line:
            cell.append(f"\n{line}", style="not bold dim")
    return cell


def _parts(row: Mapping[str, Any] | None) -> tuple[str, str, str]:
    """Value, interval or reason, and ``n of N`` with the mean that counts lost images as the worst."""
    if row is None:
        return "not scored", "not measured", ""
    if row["value"] is None:
        why = ", ".join(f"{n} {reason}" for reason, n in sorted((row.get("unscored") or {}).items()))
        return "not scored", _clean(why or "no reason given"), ""
    span = "no interval" if row["low"] is None or row["high"] is None else f"[{row['low']:.3f}, {row['high']:.3f}]"
    few = "" if row["n"] == row["of"] else f"{row['n']} of {row['of']}"
    if row.get("worst") not in (None, row["value"]):
        few += f"; lost = worst {row['worst']:.3f}"
    return f"{row['value']:.3f}", span, few


def _print_lines(results: Mapping[str, Any], console: Console) -> None:
    order = {m["name"]: i for i, m in enumerate(_metrics(results))}
    by_method = {(r["method"], r["metric"]): r for r in results["rows"]}
    listed: list[Sequence[str]] = []
    for method in sorted(results["methods"], key=lambda m: m.get("kind") == "reference"):
        for metric in order:
            value, span, few = _parts(by_method.get((method["name"], metric)))
            said = ", ".join(filter(None, (few, _free(method, metric))))
            listed.append((_clean(method["name"]), metric, value, span, said))
    widths = [max((len(line[i]) for line in listed), default=0) for i in range(4)]
    for line in listed:
        text = "  ".join(part.ljust(width) for part, width in zip(line, [*widths, 0], strict=True))
        console.print(text.rstrip(), **_PLAIN)


def _free(method: Mapping[str, Any], metric: str) -> str:
    """What is said of a layout score of a method that read no layout."""
    return "" if controls_layout(method) or not measures_layout(metric) else "not controlled"


def _is_best(results: Mapping[str, Any], method: Mapping[str, Any], metric: Mapping[str, Any]) -> bool:
    groups = results["ties"].get(metric["name"]) or [[]]
    methods = [m for m in results["methods"] if m.get("kind") != "reference"]
    return len(methods) > 1 and method["name"] in groups[0]


def _states(method: Mapping[str, Any]) -> str:
    counts = method.get("counts") or {}
    found = [f"{counts[s]} {s.replace('_', ' ')}" for s in STATES if counts.get(s)]
    return ", ".join(found) or "none"


def _clean(text: object) -> str:
    return _CONTROL.sub("\ufffd", str(text))
