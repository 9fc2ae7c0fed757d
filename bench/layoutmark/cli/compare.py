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


def _compare(options: argparse.Namespace) -> int:
    found = []
    for text in options.rows:
        folder, method = parse_address(text)
        found.append((text, RunFolder(folder), method))
    result = compare_runs(found)
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
    for metric, groups in result["ties"].items():
        if groups:
            print(f"{metric}: " + " > ".join(" = ".join(group) for group in groups))
    print("not beaten on all metrics by another (Pareto set): " + ", ".join(result["pareto"]))
    return 0


def _number(value: float | None) -> str:
    return "not scored" if value is None else f"{value:.4g}"
