"""The figures: a dot and its interval per method, Pareto fronts, means per stratum.

One file because they share colours, markers and the way a method looks in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import style
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from .payload import ordered
from .results import Metric, Results
from .svg import INK, PAPER, RC, to_svg
from .text import clean, esc, finite, name, trim

COLOURS = ("#3f7fd6", "#d0701a", "#27966b", "#a05bc4", "#d2475f", "#1b91a6", "#8b8420", "#c8559c")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#868c95"
FEW = 10
"""Bars that stand for fewer samples than this are hatched."""
# The markers again as paths in a 12 x 12 box, for the legend.
SHAPES = (
    "M6 1.8a4.2 4.2 0 1 0 .01 0z",
    "M2.2 2.2h7.6v7.6h-7.6z",
    "M6 1.6l4.6 8.4h-9.2z",
    "M6 .9l5.1 5.1-5.1 5.1-5.1-5.1z",
    "M6 10.4l4.6-8.4h-9.2z",
    "M4.2 1.4h3.6v2.8h2.8v3.6h-2.8v2.8h-3.6v-2.8h-2.8v-3.6h2.8z",
    "M3.4 1.2l2.6 2.6 2.6-2.6 2.2 2.2-2.6 2.6 2.6 2.6-2.2 2.2-2.6-2.6-2.6 2.6-2.2-2.2 2.6-2.6-2.6-2.6z",
    "M6 .8l1.5 3.4 3.7.4-2.8 2.5.8 3.6-3.2-1.9-3.2 1.9.8-3.6-2.8-2.5 3.7-.4z",
)
_EDGE: dict[str, Any] = {"markeredgecolor": PAPER, "markeredgewidth": 0.6}
PLACEMENT, AGAINST = ("ap50", "miou"), ("clip_iqa", "clip_i", "dino", "clip_t")


def figures(results: Results) -> list[tuple[str, str, str]]:
    """(group, caption as HTML, svg) of every figure that the results can fill."""
    found = []
    # The reader's own matplotlib settings must not change the bytes.
    with style.context(["default", RC]):
        for metric in results.headline:
            if any((c := results.cell(n, metric.name)) and c.value is not None for n in results.names):
                found.append(("dots", _title(metric), _dots(results, metric)))
        found += [("scatter", *pair) for pair in _scatters(results)]
        measured = stratum_metric(results)
        if measured is not None:
            for stratum in sorted({k for s in results.samples for k in (s.get("strata") or {})}):
                svg = _stratum(results, stratum, measured)
                if svg:
                    found.append(("strata", f"{name(measured.title)} by {esc(stratum.replace('_', ' '))}", svg))
    return found


def legend(results: Results) -> str:
    """HTML: every method with its colour and shape."""
    items = []
    for i, method in enumerate((*results.methods, *results.references)):
        fill, shape = (COLOURS[i % 8], SHAPES[i % 8]) if i < len(results.methods) else (GREY, SHAPES[(i + 1) % 8])
        items.append(
            '<li><svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">'
            f'<path d="{shape}" fill="{fill}"/></svg>'
            f"{name(method['name'])}</li>"
        )
    return f'<ul class="legend">{"".join(items)}</ul>'


def look(results: Results, index: int) -> tuple[str, str]:
    """Colour and marker of row `index` of the names."""
    own = index < len(results.methods)
    return (COLOURS[index % 8], MARKERS[index % 8]) if own else (GREY, MARKERS[(index + 1) % 8])


def _title(metric: Metric) -> str:
    return f'{name(metric.title)} <span class="quiet">{"higher" if metric.higher else "lower"} is better</span>'


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of `width` x `height` inches that draws SVG."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure


def _dots(results: Results, metric: Metric) -> str:
    names = results.names
    figure = new_figure(3.7, 0.5 + 0.24 * len(names))
    axes = figure.subplots()
    for i, who in enumerate(names):
        cell = results.cell(who, metric.name)
        if cell is None or cell.value is None:
            across = axes.get_yaxis_transform()
            axes.text(0.01, i, "not scored", transform=across, va="center", style="italic")
            continue
        colour, marker = look(results, i)
        if cell.low is not None and cell.high is not None:
            axes.plot([cell.low, cell.high], [i, i], color=colour, linewidth=1.6, solid_capstyle="butt")
        axes.plot([cell.value], [i], marker=marker, color=colour, markersize=5.5, **_EDGE)
    axes.set_yticks(range(len(names)), [trim(n, 22) for n in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    if 0 < len(results.methods) < len(names):
        axes.axhline(len(results.methods) - 0.5, color=INK, alpha=0.3, linewidth=0.6, linestyle=(0, (2, 2)))
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return to_svg(figure, f"{clean(metric.title)} of each method with its 95 % interval", f"d{metric.name}")


def _scatters(results: Results) -> list[tuple[str, str]]:
    """Placement against what it may cost: quality, identity, text."""
    place = next((results.metrics[m] for m in PLACEMENT if m in results.metrics), None)
    if place is None:
        return []
    others = [results.metrics[m] for m in AGAINST if m in results.metrics]
    return [found for other in others if (found := _scatter(results, place, other))]


def _scatter(results: Results, place: Metric, other: Metric) -> tuple[str, str] | None:
    figure = new_figure(3.7, 3.1)
    axes = figure.subplots()
    own: list[tuple[float, float]] = []
    drawn = 0
    for i, who in enumerate(results.names):
        x, y = results.cell(who, place.name), results.cell(who, other.name)
        if x is None or y is None or x.value is None or y.value is None:
            continue
        colour, marker = look(results, i)
        if x.low is not None and x.high is not None:
            axes.plot([x.low, x.high], [y.value, y.value], color=colour, linewidth=1.1, alpha=0.75)
        if y.low is not None and y.high is not None:
            axes.plot([x.value, x.value], [y.low, y.high], color=colour, linewidth=1.1, alpha=0.75)
        axes.plot([x.value], [y.value], marker=marker, color=colour, markersize=6.5, **_EDGE)
        drawn += 1
        if i < len(results.methods):
            own.append((x.value, y.value))
    if not drawn:
        return None
    for point in front(own, place.higher, other.higher):
        axes.plot(
            *([v] for v in point),
            marker="o",
            markersize=13,
            markerfacecolor="none",
            markeredgecolor=INK,
            markeredgewidth=0.8,
        )
    for metric, direction in ((place, axes.set_xlabel), (other, axes.set_ylabel)):
        direction(f"{trim(metric.title)}, {'higher' if metric.higher else 'lower'} is better")
    axes.grid()
    axes.set_axisbelow(True)
    label = f"{clean(place.title)} against {clean(other.title)}, with 95 % intervals, the Pareto front ringed"
    return f"{name(place.title)} against {name(other.title)}", to_svg(figure, label, f"s{other.name}")


def front(points: Sequence[tuple[float, float]], right: bool, up: bool) -> list[tuple[float, float]]:
    """The points that no other point equals or beats on both axes, from left to right."""
    a, b = (1 if right else -1), (1 if up else -1)
    kept = {p for p in points if not any(q != p and a * q[0] >= a * p[0] and b * q[1] >= b * p[1] for q in points)}
    return sorted(kept)


def stratum_metric(results: Results) -> Metric | None:
    """The metric that breakdowns show: mIoU, else the first headline that single images have."""
    having = {k for i in results.images for k, v in (i.get("scores") or {}).items() if finite(v) is not None}
    return next((m for m in (results.metrics.get("miou"), *results.headline) if m and m.name in having), None)


def _stratum(results: Results, stratum: str, metric: Metric) -> str:
    """Mean per bin and method; whiskers are 1.96 standard errors over samples, seeds of a sample averaged first."""
    bins_of = {str(s["id"]): clean(s["strata"][stratum]) for s in results.samples if stratum in (s.get("strata") or {})}
    bins = ordered(list(dict.fromkeys(bins_of.values())))
    means = sample_means(results.images, metric.name)
    shown = results.methods or results.references
    if not bins or not shown:
        return ""
    figure = new_figure(3.7, 2.3)
    axes = figure.subplots()
    width = 0.82 / len(shown)
    numbers: list[list[int]] = []
    for b, value in enumerate(bins):
        numbers.append([])
        for i, method in enumerate(shown):
            who = str(method["name"])
            values = [v for s, v in means.get(who, {}).items() if bins_of.get(s) == value]
            numbers[-1].append(len(values))
            at = b - 0.41 + (i + 0.5) * width
            if not values:
                continue
            mean = math.fsum(values) / len(values)
            colour, _ = look(results, i)
            few = len(values) < FEW
            axes.bar(
                at, mean, width * 0.86, color="none" if few else colour, edgecolor=colour,
                hatch="/////" if few else None, linewidth=0.7,
            )  # fmt: skip
            if len(values) > 1:
                spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
                ends = [max(metric.low, mean - 1.96 * spread), min(metric.high, mean + 1.96 * spread)]
                axes.plot([at, at], ends, color=INK, alpha=0.65, linewidth=0.8)
    axes.set_xticks(range(len(bins)), [f"{trim(v, 12)}\n{_n(n)}" for v, n in zip(bins, numbers, strict=True)])
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.set_ylabel(trim(metric.title))
    return to_svg(figure, f"mean {clean(metric.title)} of each method by {clean(stratum)}", f"t{_slug(stratum)}")


def sample_means(images: Sequence[Mapping[str, Any]], metric: str) -> dict[str, dict[str, float]]:
    """Mean over seeds by method and sample; images without a number are left out."""
    values: dict[str, dict[str, list[float]]] = {}
    for image in images:
        value = finite((image.get("scores") or {}).get(metric))
        if value is not None:
            values.setdefault(str(image["method"]), {}).setdefault(str(image["sample"]), []).append(value)
    return {m: {s: math.fsum(v) / len(v) for s, v in by.items()} for m, by in values.items()}


def _n(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"n {low}" if low == high else f"n {low}\u2013{high}"


def _slug(text: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):x}" for c in text)
