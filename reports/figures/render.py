"""Figures for papers: intervals of each method, placement against quality, and means by number of instances."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from layoutmark.atomic import staged_file, write_bytes
from layoutmark.score import controls_layout

HEADLINE = ("ap50", "miou", "clip_i", "dino", "clip_t", "clip_iqa")
PLACEMENT_METRIC, QUALITY_METRIC = "ap50", "clip_iqa"
STRATUM, STRATUM_METRIC = "count", "miou"
COLOURS = ("#3f7fd6", "#d0701a", "#27966b", "#a05bc4", "#d2475f", "#1b91a6", "#8b8420", "#c8559c")
GREY = "#868c95"
MARKERS = "os^DvPX*"
RC: dict[Any, Any] = {
    "font.size": 8, "text.parse_math": False, "axes.spines.top": False, "axes.spines.right": False,
    "axes.linewidth": 0.6, "grid.alpha": 0.2, "svg.hashsalt": "layoutmark", "pdf.fonttype": 42,
}  # fmt: skip
FILE_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None},
}  # fmt: skip
"""Without dates, equal results give equal files."""
DAGGER = "\u2020"
MAX_LABEL_CHARACTERS = 26
Results = Mapping[str, Any]
Rows = Mapping[tuple[str, str], Mapping[str, Any]]
"""Rows with a value, by method and metric."""


def render(results: Results, run: Path, out: Path) -> Path:  # noqa: ARG001
    """Write NAME.png, NAME.svg and NAME.pdf of every figure and captions.md below `out`; returns the captions."""
    out.mkdir(parents=True, exist_ok=True)
    captions = []
    with style.context(["default", RC]):
        for name, caption, figure in _make_figures(results):
            FigureCanvasAgg(figure)
            for file_format, metadata in FILE_METADATA.items():
                with staged_file(out / f"{name}.{file_format}") as staging:
                    figure.savefig(staging, format=file_format, dpi=200, metadata=metadata)
            captions.append(f"- `{name}`: {caption}")
    path = out / "captions.md"
    write_bytes(path, ("\n".join(captions or ["No scores to plot."]) + "\n").encode("utf-8", "replace"))
    return path


def _make_figures(results: Results) -> Iterator[tuple[str, str, Figure]]:
    """(name, caption, figure) for every figure that has values."""
    scope = _describe_scope(results)
    rows = {(r["method"], r["metric"]): r for r in results["rows"] if r["value"] is not None}
    metrics = {m["name"]: m for m in results["metrics"]}
    headline = [metrics[m] for m in HEADLINE if any(metric == m for _, metric in rows)]
    if headline:
        yield "intervals", f"95 % intervals of each method on {scope}.", _plot_intervals(results, headline, rows)
    methods = [
        m for m in _order_methods(results)
        if (m["name"], PLACEMENT_METRIC) in rows and (m["name"], QUALITY_METRIC) in rows
    ]  # fmt: skip
    if methods:
        placement, quality = metrics[PLACEMENT_METRIC], metrics[QUALITY_METRIC]
        caption = f"{placement['title']} against {quality['title']} with 95 % intervals on {scope}."
        yield "tradeoff", caption, _plot_trade_off(results, placement, quality, rows, methods)
    figure = _plot_by_count(results)
    if figure is not None:
        yield "by_count", f"Mean mIoU by number of instances, with 1.96 standard errors; {scope}.", figure


def _describe_scope(results: Results) -> str:
    suite = " ".join(str(results["suite"]["title"]).split())
    scope = f"{suite}, {len(results['samples'])} samples, {len(results['seeds'])} seed(s) each"
    if not all(map(controls_layout, results["methods"])):
        scope += f" ({DAGGER} layout not controlled: the method reads none)"
    return scope


def _plot_intervals(results: Results, metrics: list[Any], rows: Rows) -> Figure:
    methods = _order_methods(results)
    figure = Figure(figsize=(1.4 + 1.5 * len(metrics), 0.6 + 0.22 * len(methods)), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0], metrics, strict=True):
        for i, method in enumerate(methods):
            row = rows.get((method["name"], metric["name"]))
            if row is None:
                transform = axes.get_yaxis_transform()
                axes.text(0.5, i, "not scored", transform=transform, ha="center", va="center", size=6)
                continue
            colour, marker = _style(results, method)
            if row["low"] is not None:
                axes.plot([row["low"], row["high"]], [i, i], color=colour, linewidth=1.3)
            axes.plot([row["value"]], [i], marker=marker, color=colour, markersize=4)
        axes.set_title(f"{metric['title']} {'↑' if metric['higher_is_better'] else '↓'}", size=8)
        axes.grid(axis="x")
        axes.set_yticks(range(len(methods)), [_label(m) for m in methods])
        axes.set_ylim(len(methods) - 0.5, -0.5)
    return figure


def _plot_trade_off(
    results: Results, placement: Mapping[str, Any], quality: Mapping[str, Any], rows: Rows, methods: list[Any]
) -> Figure:
    figure = Figure(figsize=(3.4, 2.8), layout="constrained")
    axes = figure.subplots()
    for method in methods:
        colour, marker = _style(results, method)
        x, y = rows[method["name"], PLACEMENT_METRIC], rows[method["name"], QUALITY_METRIC]
        if x["low"] is not None and y["low"] is not None:
            axes.plot([x["low"], x["high"]], [y["value"]] * 2, color=colour, linewidth=1)
            axes.plot([x["value"]] * 2, [y["low"], y["high"]], color=colour, linewidth=1)
        axes.plot([x["value"]], [y["value"]], marker, color=colour, markersize=5, label=_label(method))
    axes.set_xlabel(placement["title"])
    axes.set_ylabel(quality["title"])
    axes.grid()
    axes.legend(fontsize=6, frameon=False)
    return figure


def _plot_by_count(results: Results) -> Figure | None:
    """Mean over samples by bin of `STRATUM`; None with fewer than two bins or without scores."""
    bins = {str(s["id"]): str((s.get("strata") or {}).get(STRATUM, "")) for s in results["samples"]}
    ordered_bins = sorted(set(bins.values()) - {""}, key=lambda b: (len(b), b))
    methods = [m for m in results["methods"] if m["kind"] != "reference"]
    means = _mean_by_bin(results, bins)
    if len(ordered_bins) < 2 or not any((m["name"], b) in means for m in methods for b in ordered_bins):
        return None
    figure = Figure(figsize=(3.4, 2.6), layout="constrained")
    axes = figure.subplots()
    for method in methods:
        values = {k: v for k, b in enumerate(ordered_bins) if (v := means.get((method["name"], b)))}
        heights = [sum(v) / len(v) for v in values.values()]
        whiskers = [1.96 * _standard_error(v) for v in values.values()]
        colour, marker = _style(results, method)
        axes.errorbar(list(values), heights, whiskers, color=colour, marker=marker, markersize=4, linewidth=1,
                      capsize=2, label=_label(method))  # fmt: skip
    axes.set_xticks(range(len(ordered_bins)), ordered_bins)
    axes.set_xlabel("instances")
    axes.set_ylabel("mIoU")
    axes.grid(axis="y")
    axes.legend(fontsize=6, frameon=False)
    return figure


def _mean_by_bin(results: Results, bins: Mapping[str, str]) -> dict[tuple[str, str], list[float]]:
    """Means over seeds, one per sample, by method and bin; so n counts samples, not images."""
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for i in results["images"]:
        value = i["scores"].get(STRATUM_METRIC)
        if isinstance(value, int | float):
            values.setdefault((i["method"], bins[i["sample"]]), {}).setdefault(i["sample"], []).append(float(value))
    return {key: [sum(v) / len(v) for v in by_sample.values()] for key, by_sample in values.items()}


def _standard_error(values: list[float]) -> float:
    n = len(values)
    mean = sum(values) / n
    return math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1) / n) if n > 1 else 0.0


def _order_methods(results: Results) -> list[Any]:
    """Methods, then reference rows."""
    return sorted(results["methods"], key=lambda m: m["kind"] == "reference")


def _style(results: Results, method: Any) -> tuple[str, str]:
    """Colour and marker."""
    k = _order_methods(results).index(method)
    return (GREY if method["kind"] == "reference" else COLOURS[k % len(COLOURS)]), MARKERS[k % len(MARKERS)]


def _label(method: Any) -> str:
    return _shorten(method["name"]) + ("" if controls_layout(method) else f" {DAGGER}")


def _shorten(name: object) -> str:
    """Printable text of at most `MAX_LABEL_CHARACTERS`; the middle of a longer one becomes an ellipsis."""
    text = " ".join("".join(c if c.isprintable() else "\ufffd" for c in str(name)).split())
    return text if len(text) <= MAX_LABEL_CHARACTERS else f"{text[:12]}…{text[-13:]}"
