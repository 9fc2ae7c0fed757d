"""Bars of one metric by the bins of each stratum, and the means behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib import style
from matplotlib.axes import Axes

from layoutmark.html_templates import clean_text

from .bins import sort_bins
from .figures import PageFigure, new_figure
from .results import Metric, Results
from .row_styles import row_style
from .svg import INK, RC, figure_to_svg
from .text import finite_or_none, name_html, shorten_middle

MIN_SAMPLES_PER_BIN = 10
"""Bars and cells of fewer samples are hatched or grey."""
GROUP_WIDTH = 0.82
"""Width of the bars of one bin; 1 is the distance of two bins."""


def stratum_figures(results: Results) -> list[PageFigure]:
    """One figure per stratum; none without a metric that single images have."""
    metric = stratum_metric(results)
    if metric is None:
        return []
    figures = []
    with style.context(["default", RC]):
        for stratum in sorted({k for s in results.samples for k in (s.get("strata") or {})}):
            if svg := _plot_stratum(results, stratum, metric):
                title = Markup("{} by {}").format(name_html(metric.title), clean_text(stratum.replace("_", " ")))
                figures.append(PageFigure("strata", title, svg))
    return figures


def stratum_metric(results: Results) -> Metric | None:
    """The metric of breakdowns: mIoU, else the first headline metric that single images have."""
    scored = {k for i in results.images for k, v in (i.get("scores") or {}).items() if finite_or_none(v) is not None}
    return next((m for m in (results.metrics.get("miou"), *results.headline_metrics) if m and m.name in scored), None)


def mean_by_sample(images: Sequence[Mapping[str, Any]], metric: str) -> dict[str, dict[str, float]]:
    """Mean over seeds by method and sample; images without a score are left out."""
    values: dict[str, dict[str, list[float]]] = {}
    for image in images:
        value = finite_or_none((image.get("scores") or {}).get(metric))
        if value is not None:
            values.setdefault(str(image["method"]), {}).setdefault(str(image["sample"]), []).append(value)
    return {m: {s: math.fsum(v) / len(v) for s, v in by_sample.items()} for m, by_sample in values.items()}


def _plot_stratum(results: Results, stratum: str, metric: Metric) -> Markup | None:
    """Mean per bin and method; whiskers are 1.96 standard errors over samples, of which seeds are averaged first."""
    bin_of = {
        str(s["id"]): clean_text(s["strata"][stratum]) for s in results.samples if stratum in (s.get("strata") or {})
    }
    bins = sort_bins(list(dict.fromkeys(bin_of.values())))
    means = mean_by_sample(results.images, metric.name)
    methods = results.methods or results.references
    if not bins or not methods:
        return None
    figure = new_figure(3.7, 2.3)
    axes = figure.subplots()
    bar_width = GROUP_WIDTH / len(methods)
    counts: list[list[int]] = []
    for b, value in enumerate(bins):
        counts.append([])
        for i, method in enumerate(methods):
            values = [v for s, v in means.get(str(method["name"]), {}).items() if bin_of.get(s) == value]
            counts[-1].append(len(values))
            if values:
                x = b - GROUP_WIDTH / 2 + (i + 0.5) * bar_width
                _plot_bar(axes, x, bar_width, values, metric, row_style(results, i).colour)
    labels = [f"{shorten_middle(v, 12)}\n{_format_counts(n)}" for v, n in zip(bins, counts, strict=True)]
    axes.set_xticks(range(len(bins)), labels)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.set_ylabel(shorten_middle(metric.title))
    label = f"mean {clean_text(metric.title)} of each method by {clean_text(stratum)}"
    return figure_to_svg(figure, label, f"t{_slug(stratum)}")


def _plot_bar(axes: Axes, x: float, width: float, values: Sequence[float], metric: Metric, colour: str) -> None:
    mean = math.fsum(values) / len(values)
    is_small = len(values) < MIN_SAMPLES_PER_BIN
    axes.bar(x, mean, width * 0.86, color="none" if is_small else colour, edgecolor=colour,
             hatch="/////" if is_small else None, linewidth=0.7)  # fmt: skip
    if len(values) > 1:
        error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
        ends = [max(metric.low, mean - 1.96 * error), min(metric.high, mean + 1.96 * error)]
        axes.plot([x, x], ends, color=INK, alpha=0.65, linewidth=0.8)


def _format_counts(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"n {low}" if low == high else f"n {low}\u2013{high}"


def _slug(text: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):x}" for c in text)
