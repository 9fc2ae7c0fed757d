"""Outcomes of the targets: one stacked bar per row, one segment per outcome."""

from __future__ import annotations

from markupsafe import Markup
from matplotlib import style
from matplotlib.axes import Axes

from .figures import PageFigure, new_figure
from .payload import OUTCOME_PREFIX
from .results import Metric, Results
from .svg import PAPER, RC, figure_to_svg, text_colour_on
from .text import shorten_middle

COLOURS = ("#27966b", "#7d8590", "#d0701a", "#c8559c", "#8b8420", "#1b91a6", "#a05bc4", "#d2475f")
SOUND = f"{OUTCOME_PREFIX}sound"
MIN_LABELLED_SHARE = 0.06
TITLE = "Share of targets by outcome"
NOTE = (
    "One outcome per target. Sound: detected in place, once, with its own appearance. All samples have the same weight."
)


def outcome_figures(results: Results) -> list[PageFigure]:
    """One figure, or none if these results have no outcomes."""
    outcomes = [m for name, m in results.metrics.items() if name.startswith(OUTCOME_PREFIX)]
    # Sound targets come first, so that the ends of their segments can be compared.
    outcomes.sort(key=lambda m: m.name != SOUND)
    names = [n for n in results.row_names if any(_share(results, n, m) is not None for m in outcomes)]
    return [PageFigure("outcomes", Markup(TITLE), _plot_bars(results, outcomes, names), NOTE)] if names else []


def _plot_bars(results: Results, outcomes: list[Metric], names: list[str]) -> Markup:
    with style.context(["default", RC]):
        figure = new_figure(7.6, 0.9 + 0.26 * len(names))
        axes = figure.subplots()
        for k in range(len(outcomes)):
            _plot_segments(axes, results, outcomes, names, k)
        axes.set_yticks(range(len(names)), [shorten_middle(n, 22) for n in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize=7.5, handlelength=1)
        return figure_to_svg(figure, TITLE, "f")


def _plot_segments(axes: Axes, results: Results, outcomes: list[Metric], names: list[str], k: int) -> None:
    """Segments of outcome `k` in all bars, each with its share where there is room."""
    widths = [_share(results, n, outcomes[k]) or 0.0 for n in names]
    starts = [sum(_share(results, n, m) or 0.0 for m in outcomes[:k]) for n in names]
    label = outcomes[k].name.removeprefix(OUTCOME_PREFIX).replace("_", " ")
    colour = COLOURS[k % len(COLOURS)]
    axes.barh(range(len(names)), widths, 0.72, starts, color=colour, edgecolor=PAPER, linewidth=0.5, label=label)
    for i, (width, start) in enumerate(zip(widths, starts, strict=True)):
        if width >= MIN_LABELLED_SHARE:
            axes.text(start + width / 2, i, f"{width:.0%}", ha="center", va="center", color=text_colour_on(colour),
                      size=7)  # fmt: skip


def _share(results: Results, row: str, outcome: Metric) -> float | None:
    cell = results.cell(row, outcome.name)
    return None if cell is None else cell.value
