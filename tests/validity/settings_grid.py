"""Measure a grid of settings of one method, on a suite that has no leaderboard.

    python tests/validity/settings_grid.py ilgd nu=0.5,1,2 eta=0.25,0.5 [--suite mini-dev] [--generator FOLDER]

Every combination is one row of a table; method `base` is the first row.  Images and features stay in the store
($LAYOUTMARK_HOME) and finished rows in the file given by --out, so an interrupted search resumes where it stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from layoutmark.atomic import write_text
from layoutmark.compare.rows import result_row
from layoutmark.features.scorers import Scorers
from layoutmark.generate.generation import generate
from layoutmark.measure.collect import collect_evidence
from layoutmark.measure.results import scorer_names
from layoutmark.metrics import all_metrics
from layoutmark.plan.plan import make_plan
from layoutmark.registry import Registry, parse_overrides
from layoutmark.store import Store, home_folder
from layoutmark.suites.opening import open_suite

METRICS = ("ap50", "miou", "dino", "clip_t", "clip_iqa", "targets_wrong_class")


def combinations(axes: Sequence[str]) -> list[dict[str, object]]:
    """The product of axes such as `nu=0.5,1,2`; the last axis changes fastest.

    >>> combinations(["nu=1,2", "eta=0.5"])
    [{'nu': 1, 'eta': 0.5}, {'nu': 2, 'eta': 0.5}]
    """
    assignments = [
        [f"{name}={value}" for value in values.split(",")]
        for name, _, values in (axis.partition("=") for axis in axes)
    ]  # fmt: skip
    return [parse_overrides(combination) for combination in product(*assignments)]


def measure_row(
    method: str, settings: Mapping[str, object], registry: Registry, suite_name: str, limit: int | None
) -> dict[str, Any]:
    """One row of the table; `values` maps each metric to its value and the bounds of its interval."""
    stack = registry.get_stack("mini")
    plan = make_plan(
        registry, suite=suite_name, stack=stack.name, methods=[method], limit=limit, overrides=settings
    )  # fmt: skip
    suite = open_suite(registry, suite_name, stack, limit)
    store = Store(home_folder())
    generate(plan, suite, registry, store, "cpu", lambda *_: None)
    scorers = Scorers(stack.card, stack.folder, "cpu")
    evidence = collect_evidence(plan, suite, scorers, store, lambda *_: None)[method]
    values = {}
    for metric in all_metrics(scorer_names(suite, scorers)):
        if metric.info.name in METRICS:
            row = result_row(method, metric, evidence, metric.outcomes(evidence))
            values[metric.info.name] = [row["value"], row["low"], row["high"]]
    return {"method": method, "settings": dict(settings), "samples": len(suite.samples), "values": values}


def format_row(row: Mapping[str, Any]) -> str:
    """One line of the Markdown table."""
    settings = ", ".join(f"{name} {value}" for name, value in row["settings"].items())
    cells = [row["values"].get(name) for name in METRICS]
    texts = ["" if cell is None or cell[0] is None else f"{cell[0]:.3f}" for cell in cells]
    return "| " + " | ".join([" ".join(filter(None, (row["method"], settings))), *texts]) + " |"


def main() -> None:
    """Print the table row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method")
    parser.add_argument("axes", nargs="*", metavar="NAME=A,B,C")
    parser.add_argument("--suite", default="mini-dev")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--generator", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=Path("build/settings_grid.json"))
    options = parser.parse_args()
    registry = Registry((), options.generator)
    rows: dict[str, Any] = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {}
    print("| row | " + " | ".join(METRICS) + " |\n|" + "---|" * (len(METRICS) + 1), flush=True)
    grid = [(options.method, settings) for settings in combinations(options.axes)]
    for method, settings in [("base", {}), *grid]:
        key = json.dumps([method, settings, options.suite, options.limit, str(options.generator)], sort_keys=True)
        if key not in rows:
            rows[key] = measure_row(method, settings, registry, options.suite, options.limit)
            options.out.parent.mkdir(parents=True, exist_ok=True)
            write_text(options.out, json.dumps(rows, indent=1) + "\n")
        print(format_row(rows[key]), flush=True)


if __name__ == "__main__":
    main()
