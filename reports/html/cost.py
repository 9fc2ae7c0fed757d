"""Cost per image: seconds and peak memory by number of instances, one line per method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup
from matplotlib import style
from matplotlib.ticker import MaxNLocator

from .figures import PageFigure, new_figure
from .results import Results
from .row_styles import row_style
from .svg import PAPER, RC, figure_to_svg
from .text import finite_or_none

CostRecord = Mapping[str, Any]
BYTES_PER_GIB = 2**30


def cost_figures(results: Results) -> list[PageFigure]:
    """Figures of seconds and of memory; one without any value is left out."""
    figures = []
    for key, title, read, note in (
        ("seconds", "Seconds per image", _read_seconds, ""),
        ("memory", "Peak memory in GiB", _read_gibibytes, f"of the {' and '.join(_memory_kinds(results))}"),
    ):
        if svg := _plot_cost(results, key, title, read):
            figures.append(PageFigure("cost", Markup(title) + ", by number of instances", svg, note))
    return figures


def _costs(results: Results) -> dict[str, list[CostRecord]]:
    cost = (results.data.get("times") or {}).get("cost") or {}
    return {str(m["name"]): list(cost.get(m["name"]) or ()) for m in results.methods}


def _memory_kinds(results: Results) -> list[str]:
    """What the peak memory was measured of: ``process``, ``cuda``."""
    return sorted({str(r["memory"]) for records in _costs(results).values() for r in records if r.get("memory")})


def _read_seconds(record: CostRecord) -> float | None:
    return finite_or_none(record.get("seconds"))


def _read_gibibytes(record: CostRecord) -> float | None:
    value = finite_or_none(record.get("peak_bytes"))
    return None if value is None else value / BYTES_PER_GIB


def _plot_cost(results: Results, key: str, title: str, read: Callable[[CostRecord], float | None]) -> Markup | None:
    lines = {
        name: [(int(r["instances"]), value) for r in records if (value := read(r)) is not None]
        for name, records in _costs(results).items()
    }
    if not any(lines.values()):
        return None
    with style.context(["default", RC]):
        figure = new_figure(3.7, 2.6)
        axes = figure.subplots()
        for i, points in enumerate(lines.values()):
            colour, marker, _ = row_style(results, i)
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=5,
                          markeredgecolor=PAPER, markeredgewidth=0.6, linewidth=1.3)  # fmt: skip
        axes.set_ylim(bottom=0)
        axes.set_xlabel("instances")
        axes.set_ylabel(title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid()
        axes.set_axisbelow(True)
        return figure_to_svg(figure, f"{title} of each method by number of instances", f"c{key}")
