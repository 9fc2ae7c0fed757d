"""The score tables: cells with their tie groups, and the gaps behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from layoutmark.score import controls_layout, measures_layout

from .results import Cell, Metric, Results

TIE_LETTERS = "abcdefghijklmnopqrstuvwxyz"
"""Names of the tie groups, best first."""


class ScoreCell(NamedTuple):
    """A score with its tie group; `is_uncontrolled` marks a layout score of a method that reads no layout."""

    cell: Cell | None
    tie_letter: str
    is_best: bool
    is_uncontrolled: bool


class ScoreRow(NamedTuple):
    """One method or reference row, with a cell per metric."""

    name: str
    title: str
    is_reference: bool
    cells: list[ScoreCell]


class ScoreTable(NamedTuple):
    """Rows of `metrics`: methods first, then reference rows."""

    metrics: list[Metric]
    rows: list[ScoreRow]

    @property
    def methods(self) -> list[ScoreRow]:
        """Rows that are ranked."""
        return [row for row in self.rows if not row.is_reference]

    @property
    def references(self) -> list[ScoreRow]:
        """Rows that bound the table."""
        return [row for row in self.rows if row.is_reference]


class Gap(NamedTuple):
    """A cell that rests on fewer images than were requested."""

    row_name: str
    metric_title: str
    cell: Cell


def score_table(results: Results, metrics: Sequence[Metric]) -> ScoreTable:
    """The cells of all rows on `metrics`."""
    return ScoreTable(list(metrics), [_make_row(results, row, metrics) for row in results.rows])


def list_gaps(results: Results, metrics: Sequence[Metric]) -> list[Gap]:
    """Cells that rest on fewer images than were requested, row by row."""
    return [
        Gap(name, metric.title, cell)
        for name in results.row_names
        for metric in metrics
        if (cell := results.cell(name, metric.name)) is not None and cell.n != cell.of
    ]


def _make_row(results: Results, row: Mapping[str, Any], metrics: Sequence[Metric]) -> ScoreRow:
    name, title = str(row["name"]), str(row.get("title") or "")
    cells = [_make_cell(results, row, metric) for metric in metrics]
    return ScoreRow(name, title if title != name else "", row.get("kind") == "reference", cells)


def _make_cell(results: Results, row: Mapping[str, Any], metric: Metric) -> ScoreCell:
    name = str(row["name"])
    group = results.tie_group(name, metric.name)
    letter = "" if group is None else TIE_LETTERS[group % len(TIE_LETTERS)]
    is_uncontrolled = measures_layout(metric.name) and not controls_layout(row)
    return ScoreCell(results.cell(name, metric.name), letter, group == 0, is_uncontrolled)
