"""`layoutmark compare`."""

from __future__ import annotations

import argparse
from itertools import groupby
from typing import Any

from layoutmark.cli.output import command, print_json, print_rows, shown_names
from layoutmark.compare import compare_runs
from layoutmark.store import RunFolder, parse_address


def add(commands: Any) -> None:
    """Add the command."""
    part = command(
        commands,
        "compare",
        "Compare rows of runs: paired differences, intervals, Holm, tie groups, Pareto set.",
        _compare,
        as_json=True,
    )
    part.add_argument("rows", nargs="+", metavar="RUN[:METHOD]", help="a run, or one method of it")
    part.add_argument("--metrics", default="", metavar="A,B", help="names of metrics (default: the headline ones)")


def _compare(options: argparse.Namespace) -> int:
    found = []
    for text in options.rows:
        folder, method = parse_address(text)
        found.append((text, RunFolder(folder), method))
    names = dict.fromkeys(m.strip() for m in options.metrics.split(",") if m.strip())
    result = compare_runs(found, list(names))
    if options.json:
        print_json(result)
        return 0
    shown = shown_names(dict.fromkeys(row["method"] for row in result["rows"]))
    for (a, b), pairs in groupby(result["pairs"], lambda pair: (pair["a"], pair["b"])):
        print_rows(
            ("metric", "difference", "95 % interval", "p", "p (Holm)", "n"),
            [_difference(pair) for pair in pairs],
            f"{shown[a]} - {shown[b]}",
        )
    print_rows(
        ("metric", "method", "rank", "chance of being best", "n"),
        [
            (metric, shown[place["method"]], _rank(place), _number(place["p_best"]), str(place["n"]))
            for metric, places in result["ranks"].items()
            for place in places
        ],
    )
    for metric, groups in result["ties"].items():
        if groups:
            print(f"{metric}: " + " > ".join(" = ".join(shown[name] for name in group) for group in groups))
    for row in result["rows"]:
        if row["value"] is None:
            print(f"not scored: {row['metric']} of {shown[row['method']]} ({', '.join(row['unscored'])})")
    for method, lost in result["unranked"].items():
        print(f"not ranked: {shown[method]} ({lost}); a rank needs every image")
    front = ", ".join(shown[name] for name in result["pareto"]) or "none"
    print(f"not beaten on all metrics by another (Pareto set): {front}")
    return 0


def _difference(pair: dict[str, Any]) -> tuple[str, ...]:
    if pair["difference"] is None:
        return pair["metric"], "not scored", "", "", "", str(pair["n"])
    bounds = "none" if pair["low"] is None else f"[{pair['low']:.4g}, {pair['high']:.4g}]"
    return pair["metric"], _number(pair["difference"]), bounds, _p(pair["p"]), _p(pair["p_holm"]), str(pair["n"])


def _rank(place: dict[str, Any]) -> str:
    """The rank, or the ranks that the pairs leave open."""
    return str(place["best"]) if place["best"] == place["worst"] else f"{place['best']} to {place['worst']}"


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"


def _p(value: float | None) -> str:
    return "none" if value is None else f"{value:.2g}"
