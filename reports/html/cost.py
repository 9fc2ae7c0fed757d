"""What an image costs: seconds, and peak memory, against the number of instances, one line a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from matplotlib import style
from matplotlib.ticker import MaxNLocator

from .plots import look, new_figure
from .results import Results
from .svg import PAPER, RC, to_svg
from .text import esc, finite

Part = Mapping[str, Any]
GIBIBYTE = 2**30


def figures(results: Results) -> list[tuple[str, str]]:
    """(caption, svg) of seconds and of memory; a figure that no method can fill is left out."""
    drawn = []
    for key, title, read in (
        ("seconds", "Seconds an image", lambda part: finite(part.get("seconds"))),
        ("memory", "Peak memory, GiB", _gibibytes),
    ):
        svg = _figure(results, key, title, read)
        if svg:
            drawn.append((f"{title}{_kinds(results) if key == 'memory' else ''}, by number of instances", svg))
    return drawn


def _costs(results: Results) -> dict[str, list[Part]]:
    cost = (results.data.get("times") or {}).get("cost") or {}
    return {str(m["name"]): list(cost.get(m["name"]) or ()) for m in results.methods}


def _kinds(results: Results) -> str:
    kinds = {str(part["memory"]) for parts in _costs(results).values() for part in parts if part.get("memory")}
    return f' <span class="quiet">of the {esc(" and ".join(sorted(kinds)))}</span>'


def _gibibytes(part: Part) -> float | None:
    value = finite(part.get("peak_bytes"))
    return None if value is None else value / GIBIBYTE


def _figure(results: Results, key: str, title: str, read: Callable[[Part], float | None]) -> str:
    lines = {
        name: [(int(p["instances"]), value) for p in parts if (value := read(p)) is not None]
        for name, parts in _costs(results).items()
    }
    if not any(lines.values()):
        return ""
    with style.context(["default", RC]):
        figure = new_figure(3.7, 2.6)
        axes = figure.subplots()
        for i, points in enumerate(lines.values()):
            colour, marker = look(results, i)
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=5,
                          markeredgecolor=PAPER, markeredgewidth=0.6, linewidth=1.3)  # fmt: skip
        axes.set_ylim(bottom=0)
        axes.set_xlabel("instances")
        axes.set_ylabel(title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid()
        axes.set_axisbelow(True)
        return to_svg(figure, f"{title} of each method by number of instances", f"c{key}")
