"""The summary of a run in the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from layoutmark.report.cells import (
    NOT_SCORED,
    ScoreCell,
    describe_run,
    format_score,
    is_best,
    list_adversaries,
    list_metrics,
    list_reasons,
    list_statuses,
    replace_invisible,
)

MIN_REASON_CHARACTERS = 14
"""Reasons for a missing score wrap at this width."""
COLUMN_GAPS = (3, 1)
"""Spaces between columns, the preferred number first."""
FILES = ("results.json", "results.csv", "report/index.html")
OUTDATED = " (of an earlier measurement; to update it: layoutmark report {run})"
_PLAIN: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}


def print_table(results: Mapping[str, Any], console: Console, run: Path | None = None) -> None:
    """Print methods by headline metrics with 95 % intervals, counts of images, and the files below `run`.

    A terminal shows a table with the best tie group in bold, in as few blocks of columns as fit its width.  A log, or a
    terminal that is too narrow even for single columns, shows one plain line per score.
    """
    console.print(replace_invisible(describe_run(results)), style="bold", **_PLAIN)
    for note in results["suite"].get("notes") or ():
        _print_plain(console, note)
    for method, reason in (results.get("left_out") or {}).items():
        _print_plain(console, f"left out: {method} ({reason})")
    tables = _fit_tables(results, console) if console.is_terminal else []
    for table in tables:
        console.print(table)
    if not tables:
        _print_lines(results, console)
    if len(tables) != 1:
        for method in results["methods"]:
            _print_plain(console, f"{method['name']}: {', '.join(list_statuses(method))}")
    for note in (*list_reasons(results, FILES[0]), *list_adversaries(results)):
        _print_plain(console, note)
    if features := results.get("times", {}).get("features"):
        _print_plain(console, f"features: {features['stored']:,} from the store, {features['computed']:,} computed")
    if run is not None:
        _print_files(run, console)


def _print_plain(console: Console, text: object) -> None:
    console.print(replace_invisible(text), **_PLAIN)


def _print_files(run: Path, console: Console) -> None:
    """Paths of the existing files; those older than the results are marked."""
    paths = [run / file for file in FILES if (run / file).is_file()]
    for path in paths:
        is_outdated = path.stat().st_mtime_ns < paths[0].stat().st_mtime_ns
        _print_plain(console, str(path) + (OUTDATED.format(run=run) if is_outdated else ""))


def _fit_tables(results: Mapping[str, Any], console: Console) -> list[Table]:
    """The fewest blocks of columns that fit the console, with the widest gaps possible; empty if nothing fits."""
    metrics = list_metrics(results)
    options = console.options.update(max_width=10_000)
    for block_count in range(1, len(metrics) + 1):
        size = -(-len(metrics) // block_count)
        for gap in COLUMN_GAPS:
            tables = [
                _make_table(results, metrics[k : k + size], gap, has_counts=block_count == 1)
                for k in range(0, len(metrics), size)
            ]
            if all(Measurement.get(console, options, table).maximum <= console.width for table in tables):
                return tables
    return []


def _make_table(
    results: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], gap: int, *, has_counts: bool
) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    table.add_column("method", no_wrap=True)
    for metric in metrics:
        arrow = "\u2191" if metric["higher_is_better"] else "\u2193"
        table.add_column(f"{replace_invisible(metric['title'])} {arrow}", justify="right", no_wrap=True)
    if has_counts:
        table.add_column("images", no_wrap=True)
    rows = {(r["method"], r["metric"]): r for r in results["rows"]}
    for is_reference in (False, True):
        for method in results["methods"]:
            if (method.get("kind") == "reference") is is_reference:
                cells = [
                    _style_cell(
                        format_score(rows.get((method["name"], m["name"])), method, m["name"]),
                        is_bold=is_best(results, method, m["name"]),
                    )
                    for m in metrics
                ]
                counts = [Text("\n".join(list_statuses(method)))] if has_counts else []
                name = Text(replace_invisible(method["name"]))
                table.add_row(name, *cells, *counts, style="dim" if is_reference else "")
        table.add_row()
    return table


def _style_cell(cell: ScoreCell, *, is_bold: bool) -> Text:
    width = max(MIN_REASON_CHARACTERS, 0 if cell.value == NOT_SCORED else len(cell.interval))
    text = Text(cell.value, style="bold" if is_bold else "")
    for line in (*textwrap.wrap(cell.interval, width), *cell.remarks):
        text.append(f"\n{line}", style="not bold dim")
    return text


def _print_lines(results: Mapping[str, Any], console: Console) -> None:
    """One aligned line per method and metric, reference rows last."""
    rows = {(r["method"], r["metric"]): r for r in results["rows"]}
    lines: list[Sequence[str]] = []
    for method in sorted(results["methods"], key=lambda m: m.get("kind") == "reference"):
        for metric in list_metrics(results):
            name = metric["name"]
            cell = format_score(rows.get((method["name"], name)), method, name)
            remarks = ", ".join(cell.remarks)
            lines.append((replace_invisible(method["name"]), name, cell.value, cell.interval, remarks))
    widths = [max((len(line[i]) for line in lines), default=0) for i in range(4)]
    for line in lines:
        text = "  ".join(part.ljust(width) for part, width in zip(line, [*widths, 0], strict=True))
        _print_plain(console, text.rstrip())
