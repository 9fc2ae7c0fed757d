"""Figures for papers: intervals of each method, placement against quality, and means by number of things asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from layoutmark.score import controls_layout

HEADLINE = ("ap50", "miou", "clip_i", "dino", "clip_t", "clip_iqa")
PLACE, QUALITY, BY = "ap50", "clip_iqa", "count"
COLOURS = ("#3f7fd6", "#d0701a", "#27966b", "#a05bc4", "#d2475f", "#1b91a6", "#8b8420", "#c8559c")
GREY = "#868c95"
MARKERS = "os^DvPX*"
RC: dict[Any, Any] = {
    "font.size": 8, "text.parse_math": False, "axes.spines.top": False, "axes.spines.right": False,
    "axes.linewidth": 0.6, "grid.alpha": 0.2, "svg.hashsalt": "layoutmark", "pdf.fonttype": 42,
}  # fmt: skip
# Without dates two renders of equal results are equal.
STAMPS: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
DAGGER = "\u2020"
Results = Mapping[str, Any]


def render(results: Results, run: Path, out: Path) -> Path:  # noqa: ARG001
    """Write NAME.png, NAME.svg and NAME.pdf of every figure and captions.md below `out`; returns the captions."""
    out.mkdir(parents=True, exist_ok=True)
    captions = []
    with style.context(["default", RC]):
        for name, caption, figure in _figures(results):
            FigureCanvasAgg(figure)
            for kind, stamps in STAMPS.items():
                part = out / f"{name}.{kind}.part"
                figure.savefig(part, format=kind, dpi=200, metadata=stamps)
                part.replace(out / f"{name}.{kind}")
            captions.append(f"- `{name}`: {caption}")
    path = out / "captions.md"
    path.write_bytes(("\n".join(captions or ["No number to draw."]) + "\n").encode("utf-8", "replace"))
    return path


def _figures(results: Results) -> Iterator[tuple[str, str, Figure]]:
    suite = " ".join(str(results["suite"]["title"]).split())
    what = f"{suite}, {len(results['samples'])} samples, {len(results['seeds'])} seed(s) each"
    if not all(map(controls_layout, results["methods"])):
        what += f" ({DAGGER} layout not controlled: the method reads none)"
    cells = {(r["method"], r["metric"]): r for r in results["rows"] if r["value"] is not None}
    titles = {m["name"]: m for m in results["metrics"]}
    metrics = [titles[m] for m in HEADLINE if any(metric == m for _, metric in cells)]
    if metrics:
        yield "intervals", f"95 % intervals of each method on {what}.", _intervals(results, metrics, cells)
    both = [m for m in _ranked(results) if (m["name"], PLACE) in cells and (m["name"], QUALITY) in cells]
    if both:
        caption = f"{titles[PLACE]['title']} against {titles[QUALITY]['title']} with 95 % intervals on {what}."
        yield "tradeoff", caption, _tradeoff(results, titles, cells, both)
    figure = _by_count(results)
    if figure is not None:
        yield "by_count", f"Mean mIoU by number of things asked for, 1.96 standard errors; {what}.", figure


def _intervals(results: Results, metrics: list[Any], cells: Mapping[Any, Any]) -> Figure:
    methods = _ranked(results)
    figure = Figure(figsize=(1.4 + 1.5 * len(metrics), 0.6 + 0.22 * len(methods)), layout="constrained")
    for panel, metric in zip(figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0], metrics, strict=True):
        for i, method in enumerate(methods):
            row = cells.get((method["name"], metric["name"]))
            if row is None:
                panel.text(
                    0.5, i, "not scored", transform=panel.get_yaxis_transform(), ha="center", va="center", size=6
                )
                continue
            colour, marker = _look(results, method)
            if row["low"] is not None:
                panel.plot([row["low"], row["high"]], [i, i], color=colour, linewidth=1.3)
            panel.plot([row["value"]], [i], marker=marker, color=colour, markersize=4)
        panel.set_title(f"{metric['title']} {'↑' if metric['higher_is_better'] else '↓'}", size=8)
        panel.grid(axis="x")
        panel.set_yticks(range(len(methods)), [_label(m) for m in methods])
        panel.set_ylim(len(methods) - 0.5, -0.5)
    return figure


def _tradeoff(results: Results, titles: Mapping[str, Any], cells: Mapping[Any, Any], methods: list[Any]) -> Figure:
    figure = Figure(figsize=(3.4, 2.8), layout="constrained")
    axes = figure.subplots()
    for method in methods:
        colour, marker = _look(results, method)
        x, y = cells[method["name"], PLACE], cells[method["name"], QUALITY]
        if x["low"] is not None and y["low"] is not None:
            axes.plot([x["low"], x["high"]], [y["value"]] * 2, color=colour, linewidth=1)
            axes.plot([x["value"]] * 2, [y["low"], y["high"]], color=colour, linewidth=1)
        axes.plot([x["value"]], [y["value"]], marker, color=colour, markersize=5, label=_label(method))
    axes.set_xlabel(titles[PLACE]["title"])
    axes.set_ylabel(titles[QUALITY]["title"])
    axes.grid()
    axes.legend(fontsize=6, frameon=False)
    return figure


def _by_count(results: Results) -> Figure | None:
    """Seeds of a sample are averaged first, so that n is samples."""
    bins = {str(s["id"]): str((s.get("strata") or {}).get(BY, "")) for s in results["samples"]}
    order = sorted(set(bins.values()) - {""}, key=lambda b: (len(b), b))
    methods = [m for m in results["methods"] if m["kind"] != "reference"]
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for i in results["images"]:
        value = i["scores"].get("miou")
        if isinstance(value, int | float):
            values.setdefault((i["method"], bins[i["sample"]]), {}).setdefault(i["sample"], []).append(float(value))
    if len(order) < 2 or not any((m["name"], b) in values for m in methods for b in order):
        return None
    figure = Figure(figsize=(3.4, 2.6), layout="constrained")
    axes = figure.subplots()
    for method in methods:
        means = [[sum(v) / len(v) for v in values.get((method["name"], b), {}).values()] for b in order]
        at = [k for k, m in enumerate(means) if m]
        heights = [sum(means[k]) / len(means[k]) for k in at]
        colour, marker = _look(results, method)
        axes.errorbar(at, heights, [1.96 * _error(means[k]) for k in at], color=colour, marker=marker, markersize=4,
                      linewidth=1, capsize=2, label=_label(method))  # fmt: skip
    axes.set_xticks(range(len(order)), order)
    axes.set_xlabel("things asked for")
    axes.set_ylabel("mIoU")
    axes.grid(axis="y")
    axes.legend(fontsize=6, frameon=False)
    return figure


def _error(values: list[float]) -> float:
    mean = sum(values) / len(values)
    n = len(values)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n) if n > 1 else 0.0


def _ranked(results: Results) -> list[Any]:
    return sorted(results["methods"], key=lambda m: m["kind"] == "reference")


def _look(results: Results, method: Any) -> tuple[str, str]:
    k = _ranked(results).index(method)
    return (GREY if method["kind"] == "reference" else COLOURS[k % len(COLOURS)]), MARKERS[k % len(MARKERS)]


def _label(method: Any) -> str:
    return _short(method["name"]) + ("" if controls_layout(method) else f" {DAGGER}")


def _short(name: object) -> str:
    text = " ".join("".join(c if c.isprintable() else "\ufffd" for c in str(name)).split())
    return text if len(text) <= 26 else f"{text[:12]}…{text[-13:]}"
