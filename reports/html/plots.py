"""Plots of headline metrics: one point and interval per row, and Pareto fronts of placement and another metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from matplotlib import style
from matplotlib.axes import Axes

from layoutmark.html_templates import clean_text

from .figures import PageFigure, new_figure
from .results import Cell, Metric, Results
from .row_styles import RowStyle, row_style
from .svg import INK, PAPER, RC, figure_to_svg
from .text import name_html, shorten_middle

PLACEMENT_METRICS = ("ap50", "miou")
TRADE_OFF_METRICS = ("clip_iqa", "clip_i", "dino", "clip_t")
MAX_LABEL_CHARACTERS = 22
MARKER_EDGE: dict[str, Any] = {"markeredgecolor": PAPER, "markeredgewidth": 0.6}


def headline_figures(results: Results) -> list[PageFigure]:
    """Every interval plot and trade-off plot for which these results have values."""
    # The reader's own matplotlib settings must not change the bytes.
    with style.context(["default", RC]):
        return [*_interval_figures(results), *_trade_off_figures(results)]


def _interval_figures(results: Results) -> list[PageFigure]:
    return [
        PageFigure("intervals", name_html(m.title), _plot_intervals(results, m), describe_direction(m))
        for m in results.headline_metrics
        if any((cell := results.cell(name, m.name)) and cell.value is not None for name in results.row_names)
    ]


def describe_direction(metric: Metric) -> str:
    """``higher is better`` or ``lower is better``."""
    return f"{'higher' if metric.higher_is_better else 'lower'} is better"


def _plot_intervals(results: Results, metric: Metric) -> Markup:
    names = results.row_names
    figure = new_figure(3.7, 0.5 + 0.24 * len(names))
    axes = figure.subplots()
    for i, name in enumerate(names):
        _plot_row(axes, i, results.cell(name, metric.name), results)
    axes.set_yticks(range(len(names)), [shorten_middle(n, MAX_LABEL_CHARACTERS) for n in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    if 0 < len(results.methods) < len(names):
        axes.axhline(len(results.methods) - 0.5, color=INK, alpha=0.3, linewidth=0.6, linestyle=(0, (2, 2)))
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    label = f"{clean_text(metric.title)} of each method with its 95 % interval"
    return figure_to_svg(figure, label, f"d{metric.name}")


def _plot_row(axes: Axes, index: int, cell: Cell | None, results: Results) -> None:
    if cell is None or cell.value is None:
        transform = axes.get_yaxis_transform()
        axes.text(0.01, index, "not scored", transform=transform, va="center", style="italic")
        return
    colour, marker, _ = row_style(results, index)
    if cell.low is not None and cell.high is not None:
        axes.plot([cell.low, cell.high], [index, index], color=colour, linewidth=1.6, solid_capstyle="butt")
    axes.plot([cell.value], [index], marker=marker, color=colour, markersize=5.5, **MARKER_EDGE)


def _trade_off_figures(results: Results) -> list[PageFigure]:
    """Placement against quality, identity and text."""
    placement = next((results.metrics[m] for m in PLACEMENT_METRICS if m in results.metrics), None)
    if placement is None:
        return []
    others = [results.metrics[m] for m in TRADE_OFF_METRICS if m in results.metrics]
    return [figure for other in others if (figure := _trade_off_figure(results, placement, other))]


def _trade_off_figure(results: Results, placement: Metric, other: Metric) -> PageFigure | None:
    figure = new_figure(3.7, 3.1)
    axes = figure.subplots()
    points = [
        _plot_cross(axes, row_style(results, i), results.cell(name, placement.name), results.cell(name, other.name))
        for i, name in enumerate(results.row_names)
    ]
    if not any(points):
        return None
    method_points = [point for point in points[: len(results.methods)] if point]
    for x_value, y_value in pareto_front(method_points, placement.higher_is_better, other.higher_is_better):
        axes.plot([x_value], [y_value], marker="o", markersize=13, markerfacecolor="none", markeredgecolor=INK,
                  markeredgewidth=0.8)  # fmt: skip
    for metric, set_label in ((placement, axes.set_xlabel), (other, axes.set_ylabel)):
        set_label(f"{shorten_middle(metric.title)}, {describe_direction(metric)}")
    axes.grid()
    axes.set_axisbelow(True)
    titles = f"{clean_text(placement.title)} against {clean_text(other.title)}"
    label = f"{titles}, with 95 % intervals, the Pareto front ringed"
    title = Markup("{} against {}").format(name_html(placement.title), name_html(other.title))
    return PageFigure("trade-offs", title, figure_to_svg(figure, label, f"s{other.name}"))


def _plot_cross(axes: Axes, style_of_row: RowStyle, x: Cell | None, y: Cell | None) -> tuple[float, float] | None:
    """Draw a marker with the intervals of both metrics; returns its place, None if a value is missing."""
    if x is None or y is None or x.value is None or y.value is None:
        return None
    colour, marker, _ = style_of_row
    if x.low is not None and x.high is not None:
        axes.plot([x.low, x.high], [y.value, y.value], color=colour, linewidth=1.1, alpha=0.75)
    if y.low is not None and y.high is not None:
        axes.plot([x.value, x.value], [y.low, y.high], color=colour, linewidth=1.1, alpha=0.75)
    axes.plot([x.value], [y.value], marker=marker, color=colour, markersize=6.5, **MARKER_EDGE)
    return x.value, y.value


def pareto_front(
    points: Sequence[tuple[float, float]], higher_x_is_better: bool, higher_y_is_better: bool
) -> list[tuple[float, float]]:
    """The points that no other point equals or beats on both axes, from left to right.

    >>> pareto_front([(0, 2), (1, 3), (2, 2), (2, 1)], True, True)
    [(1, 3), (2, 2)]
    """
    x_sign, y_sign = (1 if higher_x_is_better else -1), (1 if higher_y_is_better else -1)

    def is_beaten(point: tuple[float, float]) -> bool:
        return any(
            other != point and x_sign * other[0] >= x_sign * point[0] and y_sign * other[1] >= y_sign * point[1]
            for other in points
        )

    return sorted({point for point in points if not is_beaten(point)})
