"""The stages of a run, shared by the commands that go through one or more of them."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layoutmark.atomic import write_text
from layoutmark.cli.options import make_registry
from layoutmark.cli.progress import ProgressBars
from layoutmark.errors import LayoutmarkError
from layoutmark.plan.plan import PLAN_FILE_NAME, Plan, make_plan
from layoutmark.registry import parse_overrides
from layoutmark.store import Store, home_folder, runs_folder
from layoutmark.store.locks import exclusive
from layoutmark.suites.opening import open_suite

DEFAULT_DEMO_SAMPLES = 72
"""Samples of `layoutmark run` without a suite: all methods that fit finish them in five minutes on two cores."""
SECONDS_FILE = "generate_seconds.json"


def plan_run(options: argparse.Namespace) -> tuple[Plan, Path]:
    """Make the plan that the options of `run` or `generate` ask for; returns it and its run folder."""
    method_names = [name.strip() for name in options.methods.split(",") if name.strip()]
    if options.set and not method_names:
        raise LayoutmarkError(
            "--set",
            found="no --methods",
            expected="the methods to set it for",
            do="Name them with --methods.",
        )
    plan = make_plan(
        make_registry(options),
        suite=options.suite or "mini",
        stack=options.stack,
        methods=method_names,
        seeds=options.seeds,
        limit=DEFAULT_DEMO_SAMPLES if options.suite is None and options.limit is None else options.limit,
        name=options.name,
        overrides=parse_overrides(options.set),
        dtype=options.dtype,
        adversaries=options.adversaries,
    )
    return plan, write_plan(plan)


def write_plan(plan: Plan) -> Path:
    """Write a plan into the folder of its run; returns the folder."""
    run = runs_folder() / plan.name
    write_text(run / PLAN_FILE_NAME, json.dumps(plan.to_json(), indent=1, sort_keys=True) + "\n")
    return run


def generate_missing(options: argparse.Namespace, plan: Plan, run: Path) -> None:
    """Generate the images of a plan that the store lacks, and note the seconds per row in the run folder."""
    from layoutmark.generate.generation import generate

    registry = make_registry(options)
    suite = open_suite(registry, plan.suite, registry.get_stack(plan.stack), plan.limit)
    with ProgressBars("generate") as bars:
        seconds_by_row = generate(plan, suite, registry, Store(home_folder()), options.device, bars)
    if any(seconds_by_row.values()):
        with exclusive(run / SECONDS_FILE):
            earlier = _read_seconds(run)
            seconds_by_row = {name: seconds or earlier.get(name, 0.0) for name, seconds in seconds_by_row.items()}
            write_text(run / SECONDS_FILE, json.dumps(seconds_by_row, sort_keys=True) + "\n")


def measure_images(options: argparse.Namespace, plan: Plan, run: Path) -> dict[str, Any]:
    """Measure the images of a plan and write the results into the run folder; returns the results.

    Raises LayoutmarkError if the suite has changed since the plan was made.
    """
    from layoutmark.measure import measure

    registry = make_registry(options)
    entry = registry.get_suite(plan.suite)
    suite = open_suite(registry, plan.suite, registry.get_stack(plan.stack), plan.limit)
    if suite.digest != plan.suite_digest:
        raise LayoutmarkError(
            f"run {plan.name!r}",
            found=f"suite {plan.suite!r} with digest {suite.digest[:12]}",
            expected=f"digest {plan.suite_digest[:12]}, as when it was planned",
            do=f"Run: layoutmark run {plan.suite} --stack {plan.stack} --name {plan.name}",
        )
    with ProgressBars("measure") as bars:
        return measure(
            plan, suite, entry.suite, entry.card.licence, registry, Store(home_folder()), run, options.device, bars,
            _read_seconds(run),
        )  # fmt: skip


def _read_seconds(run: Path) -> dict[str, float]:
    """Seconds of generation by row, of earlier calls; empty if the file is missing or damaged, as it is only a note."""
    try:
        stored = json.loads((run / SECONDS_FILE).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(stored, dict):
        return {}
    return {str(name): float(value) for name, value in stored.items() if isinstance(value, int | float)}


def check_losses(options: argparse.Namespace, results: Mapping[str, Any]) -> int:
    """1 if a method lost more of its images than ``--fail-above`` allows, with a line for each; else 0."""
    exit_code = 0
    for method in results["methods"]:
        counts = method["counts"]
        lost = counts["failed"] + counts["missing"]
        if method["kind"] != "reference" and lost > options.fail_above * counts["requested"]:
            print(f"{method['name']} lost {lost} of {counts['requested']} images", file=sys.stderr)
            exit_code = 1
    return exit_code


def find_run(name: str) -> Path:
    """The folder of a planned run: a path, or a name below `runs_folder()`.  Raises LayoutmarkError for neither."""
    for path in (runs_folder() / name, Path(name)):
        if (path / PLAN_FILE_NAME).is_file() or (path / "results.json").is_file():
            return path
    known = sorted(path.parent.name for path in runs_folder().glob(f"*/{PLAN_FILE_NAME}"))
    close = difflib.get_close_matches(name, known, n=1)
    raise LayoutmarkError(
        "unknown run",
        found=repr(name),
        expected="one of " + (", ".join(known) or "(none)"),
        do=f"Did you mean {close[0]!r}?" if close else "Run: layoutmark run",
    )


def print_results(options: argparse.Namespace, results: dict[str, Any], run: Path) -> None:
    """Print the rows of `results`, as a table or with ``--json`` as JSON."""
    from rich.console import Console

    from layoutmark.cli.output import print_json
    from layoutmark.report import print_table

    if options.json:
        print_json(results["rows"])
    else:
        print_table(results, Console(), run)
