"""`layoutmark compare`: paired differences, intervals, ties and ranks of rows of runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from layoutmark.cli.output import print_json, print_rows, short_names
from layoutmark.cli.parser import Parser, set_up
from layoutmark.compare import compare_runs
from layoutmark.store import RunFolder, parse_run_address


def configure(parser: Parser) -> None:
    """Add the arguments."""
    set_up(parser, _compare, example="compare mini-mini --metrics ap50,miou", as_json=True)
    parser.add_argument("rows", nargs="+", metavar="RUN[:METHOD]", help="a run, or one method of it")
    parser.add_argument("--metrics", default="", metavar="A,B", help="names of metrics (default: the headline metrics)")


def _compare(options: argparse.Namespace) -> int:
    runs = []
    for address in options.rows:
        folder, method = parse_run_address(address)
        runs.append((address, RunFolder(folder), method))
    metric_names = dict.fromkeys(name.strip() for name in options.metrics.split(",") if name.strip())
    comparison = compare_runs(runs, list(metric_names))
    if options.json:
        print_json(comparison)
        return 0
    names = short_names(dict.fromkeys(row["method"] for row in comparison["rows"]))
    _print_differences(comparison, names)
    _print_ranks(comparison, names)
    _print_omissions(comparison, names)
    front = ", ".join(names[method] for method in comparison["pareto"]) or "none"
    print(f"Pareto set (not beaten by another method on every metric): {front}")
    return 0


def _print_differences(comparison: Mapping[str, Any], names: Mapping[str, str]) -> None:
    for (a, b), pairs in groupby(comparison["pairs"], lambda pair: (pair["a"], pair["b"])):
        print_rows(
            ("metric", "difference", "95 % interval", "p", "p (Holm)", "n"),
            [_difference_cells(pair) for pair in pairs],
            f"{names[a]} - {names[b]}",
        )


def _print_ranks(comparison: Mapping[str, Any], names: Mapping[str, str]) -> None:
    print_rows(
        ("metric", "method", "rank", "chance of being best", "n"),
        [
            (metric, names[rank["method"]], _rank_cell(rank), _number(rank["p_best"]), str(rank["n"]))
            for metric, ranks in comparison["ranks"].items()
            for rank in ranks
        ],
    )
    for metric, groups in comparison["ties"].items():
        if groups:
            print(f"{metric}: " + " > ".join(" = ".join(names[method] for method in group) for group in groups))


def _print_omissions(comparison: Mapping[str, Any], names: Mapping[str, str]) -> None:
    for row in comparison["rows"]:
        if row["value"] is None:
            print(f"not scored: {row['metric']} of {names[row['method']]} ({', '.join(row['unscored'])})")
    for method, losses in comparison["unranked"].items():
        print(f"not ranked: {names[method]} ({losses}); a rank needs every image")


def _difference_cells(pair: Mapping[str, Any]) -> tuple[str, ...]:
    if pair["difference"] is None:
        return pair["metric"], "not scored", "", "", "", str(pair["n"])
    interval = "none" if pair["low"] is None else f"[{pair['low']:.4g}, {pair['high']:.4g}]"
    p_values = (_p_value(pair["p"]), _p_value(pair["p_holm"]))
    return pair["metric"], _number(pair["difference"]), interval, *p_values, str(pair["n"])


def _rank_cell(rank: Mapping[str, Any]) -> str:
    """The rank, or the range of ranks that the pairwise tests allow."""
    return str(rank["best"]) if rank["best"] == rank["worst"] else f"{rank['best']} to {rank['worst']}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _p_value(value: float | None) -> str:
    return "none" if value is None else f"{value:.2g}"
