"""`layoutmark compare`."""

from __future__ import annotations

import argparse
from typing import Any

from layoutmark.cli.common import command, print_json, print_rows
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
    print_rows(
        ("metric", "a", "b", "a - b", "95 % interval", "p", "p (Holm)", "n"),
        [
            (p["metric"], p["a"], p["b"], _number(p["difference"]), f"[{_number(p['low'])}, {_number(p['high'])}]",
             _number(p["p"]), _number(p["p_holm"]), str(p["n"]))
            for p in result["pairs"]
        ],
    )  # fmt: skip
    print_rows(
        ("metric", "method", "rank", "chance of being best", "n"),
        [
            (metric, place["method"], _rank(place), _number(place["p_best"]), str(place["n"]))
            for metric, places in result["ranks"].items()
            for place in places
        ],
    )
    for metric, groups in result["ties"].items():
        if groups:
            print(f"{metric}: " + " > ".join(" = ".join(group) for group in groups))
    for method, lost in result["unranked"].items():
        print(f"not ranked: {method} ({lost}); a rank needs every image")
    print("not beaten on all metrics by another (Pareto set): " + ", ".join(result["pareto"]))
    return 0


def _rank(place: dict[str, Any]) -> str:
    """The rank, or the ranks that the pairs leave open."""
    return str(place["best"]) if place["best"] == place["worst"] else f"{place['best']} to {place['worst']}"


def _number(value: float | None) -> str:
    return "not scored" if value is None else f"{value:.4g}"
