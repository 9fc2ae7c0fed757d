"""Appearance leakage: one heat map per row of the table, target crops against references, by category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib import colormaps, style
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from layoutmark.html_templates import clean_text

from .figures import PageFigure, new_figure
from .results import Results
from .svg import PAPER, RC, figure_to_svg, text_colour_on
from .text import finite_or_none, name_html, shorten_middle

ENCODERS = (("dino", "DINO"), ("clip", "CLIP"))
MAX_LABELLED_CATEGORIES = 14
"""Cells carry their number up to this many categories."""
COLORMAP = "Blues"
OWN_REFERENCE_X = -0.4
"""Left edge of the first column: a gap separates own references from those of others."""


def leakage_figures(results: Results) -> list[PageFigure]:
    """One figure per row that has targets and references to compare, by the first encoder with data."""
    stored = results.data.get("leakage") or {}
    by_encoder = [(title, stored[kind]) for kind, title in ENCODERS if stored.get(kind)]
    if not by_encoder:
        return []
    encoder, matrices = by_encoder[0]
    by_row = {n: matrices[n] for n in results.row_names if n in matrices}
    cosines = [v for matrix in by_row.values() for row in _mean_cosines(matrix) for v in row if v is not None]
    value_range = (min(cosines), max(cosines))
    return [
        PageFigure("leakage", name_html(name), _plot_matrix(name, matrix, value_range, i), _describe(matrix, encoder))
        for i, (name, matrix) in enumerate(by_row.items())
    ]


def _mean_cosines(matrix: Mapping[str, Any]) -> list[list[float | None]]:
    """Rows of mean cosines: own reference first, then those of other targets by category."""
    return [
        [finite_or_none(own[0]), *(finite_or_none(cell[0]) for cell in row)]
        for own, row in zip(matrix["own"], matrix["others"], strict=True)
    ]


def _weighted_mean(cells: Sequence[Sequence[Any]]) -> float | None:
    """Mean of (mean, count) cells; None if all are empty."""
    known = [(float(mean), int(count)) for mean, count in cells if mean is not None]
    total = sum(count for _, count in known)
    return sum(mean * count for mean, count in known) / total if total else None


def _describe(matrix: Mapping[str, Any], encoder: str) -> str:
    own = _weighted_mean(matrix["own"])
    others = _weighted_mean([cell for row in matrix["others"] for cell in row])
    means = [f"{label} {mean:.3f}" for label, mean in (("own", own), ("others'", others)) if mean is not None]
    left_out = f", {matrix['left_out']} targets of rarer categories left out" if matrix.get("left_out") else ""
    return f"mean {encoder} cosine with references: {', '.join(means)}{left_out}"


def _plot_matrix(name: str, matrix: Mapping[str, Any], value_range: tuple[float, float], index: int) -> Markup:
    categories = [shorten_middle(c, 12) for c in matrix["categories"]]
    count = len(categories)
    with style.context(["default", RC]):
        figure = new_figure(3.7, 1.1 + 0.2 * max(count, 4))
        axes = figure.subplots()
        for i, row in enumerate(_mean_cosines(matrix)):
            for j, value in enumerate(row):
                if value is not None:
                    _plot_cell(axes, i, j, value, value_range, is_labelled=count <= MAX_LABELLED_CATEGORIES)
        axes.set_xticks([0.1, *(k + 1.5 for k in range(count))], ["own", *categories], rotation=90, size=7)
        axes.set_yticks(range(count), categories, size=7)
        axes.set_xlim(-0.5, count + 1.05)
        axes.set_ylim(count - 0.4, -0.6)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        label = (
            f"{clean_text(name)}: similarity of targets (rows) to their own and others' references (columns), "
            "in hundredths"
        )
        return figure_to_svg(figure, label, f"l{index}")


def _plot_cell(
    axes: Axes, row: int, column: int, value: float, value_range: tuple[float, float], *, is_labelled: bool
) -> None:
    low, high = value_range
    shade = 0.08 + 0.92 * ((value - low) / (high - low) if high > low else 1.0)
    colour = colormaps[COLORMAP](shade)
    x = OWN_REFERENCE_X if column == 0 else column
    axes.barh(row, 1, 1, x, color=colour, edgecolor=PAPER, linewidth=0.6)
    if is_labelled:
        text_colour = text_colour_on(to_hex(colour))
        axes.text(x + 0.5, row, f"{100 * value:.0f}", ha="center", va="center", color=text_colour, size=6)
