"""What became of each target: one bar a method, cut by kind of failure."""

from __future__ import annotations

from matplotlib import style

from .payload import FATE
from .plots import new_figure
from .results import Metric, Results
from .svg import PAPER, RC, ink_on, to_svg
from .text import trim

COLOURS = ("#27966b", "#7d8590", "#d0701a", "#c8559c", "#8b8420", "#1b91a6", "#a05bc4", "#d2475f")


def bars(results: Results) -> str:
    """The figure as SVG; empty when these results have no kinds of failure."""
    kinds = [m for n, m in results.metrics.items() if n.startswith(FATE)]
    # What is sound stands first, so that its ends can be compared.
    kinds.sort(key=lambda m: m.name != f"{FATE}sound")
    names = [n for n in results.names if any(_share(results, n, m) is not None for m in kinds)]
    if not kinds or not names:
        return ""
    with style.context(["default", RC]):
        figure = new_figure(7.6, 0.9 + 0.26 * len(names))
        axes = figure.subplots()
        for k, kind in enumerate(kinds):
            widths = [_share(results, n, kind) or 0.0 for n in names]
            left = [sum(_share(results, n, m) or 0.0 for m in kinds[:k]) for n in names]
            label = kind.name.removeprefix(FATE).replace("_", " ")
            colour = COLOURS[k % len(COLOURS)]
            axes.barh(range(len(names)), widths, 0.72, left, color=colour, edgecolor=PAPER, linewidth=0.5, label=label)
            for i, (width, start) in enumerate(zip(widths, left, strict=True)):
                if width >= 0.06:
                    axes.text(
                        start + width / 2, i, f"{width:.0%}", ha="center", va="center", color=ink_on(colour), size=7
                    )
        axes.set_yticks(range(len(names)), [trim(n, 22) for n in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize=7.5, handlelength=1)
        return to_svg(figure, "Share of targets by what became of them", "f")


def _share(results: Results, method: str, kind: Metric) -> float | None:
    cell = results.cell(method, kind.name)
    return None if cell is None else cell.value
