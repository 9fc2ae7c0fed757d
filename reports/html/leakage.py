"""Whose look each place has: one heat map a method, places against references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import colormaps, style
from matplotlib.colors import to_hex

from .plots import new_figure
from .results import Results
from .svg import PAPER, RC, ink_on, to_svg
from .text import clean, finite, name, trim

ENCODERS = (("dino", "DINO"), ("clip", "CLIP"))
LEGIBLE = 14
"""Categories up to which cells carry their number."""
SHADES = "Blues"


def figures(results: Results) -> list[tuple[str, str]]:
    """(caption, svg) of every row that has places and references to compare, by the first encoder that knows any."""
    stored = results.data.get("leakage") or {}
    known = [(title, stored[kind]) for kind, title in ENCODERS if stored.get(kind)]
    if not known:
        return []
    title, by_row = known[0]
    parts = {n: by_row[n] for n in results.names if n in by_row}
    values = [v for part in parts.values() for row in _cells(part) for v in row if v is not None]
    bounds = (min(values), max(values))
    return [(_caption(who, part, title), _figure(who, part, bounds, i)) for i, (who, part) in enumerate(parts.items())]


def _cells(part: Mapping[str, Any]) -> list[list[float | None]]:
    """Rows of means: the own reference first, then others' by category."""
    return [
        [finite(own[0]), *(finite(cell[0]) for cell in row)]
        for own, row in zip(part["own"], part["others"], strict=True)
    ]


def _mean(cells: Sequence[Sequence[Any]]) -> float | None:
    known = [(float(value), int(n)) for value, n in cells if value is not None]
    total = sum(n for _, n in known)
    return sum(value * n for value, n in known) / total if total else None


def _caption(who: str, part: Mapping[str, Any], encoder: str) -> str:
    own, others = _mean(part["own"]), _mean([cell for row in part["others"] for cell in row])
    told = [f"{words} {value:.3f}" for words, value in (("own", own), ("others'", others)) if value is not None]
    left = f", {part['left_out']} places of rarer categories left out" if part.get("left_out") else ""
    return f'{name(who)} <span class="quiet">{encoder} cosine with references: {", ".join(told)}{left}</span>'


def _figure(who: str, part: Mapping[str, Any], bounds: tuple[float, float], index: int) -> str:
    cells = _cells(part)
    categories = [trim(c, 12) for c in part["categories"]]
    count = len(categories)
    low, high = bounds
    shades = colormaps[SHADES]
    with style.context(["default", RC]):
        figure = new_figure(3.7, 1.1 + 0.2 * max(count, 4))
        axes = figure.subplots()
        for i, row in enumerate(cells):
            for j, value in enumerate(row):
                if value is None:
                    continue
                share = 0.08 + 0.92 * ((value - low) / (high - low) if high > low else 1.0)
                at = -0.4 if j == 0 else j  # a gap between the own reference and the others'
                axes.barh(i, 1, 1, at, color=shades(share), edgecolor=PAPER, linewidth=0.6)
                if count <= LEGIBLE:
                    ink = ink_on(to_hex(shades(share)))
                    axes.text(at + 0.5, i, f"{100 * value:.0f}", ha="center", va="center", color=ink, size=6)
        axes.set_xticks([0.1, *(k + 1.5 for k in range(count))], ["own", *categories], rotation=90, size=7)
        axes.set_yticks(range(count), categories, size=7)
        axes.set_xlim(-0.5, count + 1.05)
        axes.set_ylim(count - 0.4, -0.6)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes_are = "places (rows) against their own and others' references (columns)"
        label = f"{clean(who)}: similarity of {axes_are}, in hundredths"
        return to_svg(figure, label, f"l{index}")
