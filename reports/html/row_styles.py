"""Colour and marker of each row of the table, the same in every figure."""

from __future__ import annotations

from typing import NamedTuple

from .results import Results

COLOURS = ("#3f7fd6", "#d0701a", "#27966b", "#a05bc4", "#d2475f", "#1b91a6", "#8b8420", "#c8559c")
GREY = "#868c95"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
# The same markers as SVG paths in a 12 x 12 box, for the legend.
MARKER_PATHS = (
    "M6 1.8a4.2 4.2 0 1 0 .01 0z",
    "M2.2 2.2h7.6v7.6h-7.6z",
    "M6 1.6l4.6 8.4h-9.2z",
    "M6 .9l5.1 5.1-5.1 5.1-5.1-5.1z",
    "M6 10.4l4.6-8.4h-9.2z",
    "M4.2 1.4h3.6v2.8h2.8v3.6h-2.8v2.8h-3.6v-2.8h-2.8v-3.6h2.8z",
    "M3.4 1.2l2.6 2.6 2.6-2.6 2.2 2.2-2.6 2.6 2.6 2.6-2.2 2.2-2.6-2.6-2.6 2.6-2.2-2.2 2.6-2.6-2.6-2.6z",
    "M6 .8l1.5 3.4 3.7.4-2.8 2.5.8 3.6-3.2-1.9-3.2 1.9.8-3.6-2.8-2.5 3.7-.4z",
)


class RowStyle(NamedTuple):
    """`colour` as #rrggbb, `marker` as matplotlib names it, `path` as SVG path data in a 12 x 12 box."""

    colour: str
    marker: str
    path: str


class LegendEntry(NamedTuple):
    """A row's name and style."""

    name: str
    style: RowStyle


def row_style(results: Results, index: int) -> RowStyle:
    """Style of the row at `index` of `results.row_names`; reference rows are grey."""
    if index < len(results.methods):
        return RowStyle(COLOURS[index % 8], MARKERS[index % 8], MARKER_PATHS[index % 8])
    return RowStyle(GREY, MARKERS[(index + 1) % 8], MARKER_PATHS[(index + 1) % 8])


def legend_entries(results: Results) -> list[LegendEntry]:
    """Every row with its style."""
    return [LegendEntry(name, row_style(results, i)) for i, name in enumerate(results.row_names)]
