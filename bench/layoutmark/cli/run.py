"""`layoutmark run`, and its stages alone: `generate`, `measure`, `report`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from layoutmark.atomic import write_text
from layoutmark.cli.output import Bars, add_stack_options, add_to_step_summary, command, print_json, registry
from layoutmark.errors import LayoutmarkError
from layoutmark.generate.generation import generate
from layoutmark.measure import measure
from layoutmark.plan.plan import PLAN, Plan, make_plan, read_plan
from layoutmark.registry import parse_overrides
from layoutmark.report import print_table, write_report
from layoutmark.store import RunFolder, Store, runs_folder
from layoutmark.store import folders as home
from layoutmark.suites.opening import open_suite

FIRST = 72
"""Samples of a run without arguments: all methods that fit are through with them in five minutes on two cores."""


def add(commands: Any) -> None:
    """Add the four commands."""
    for name, text, call in (
        (
            "run",
            "Generate, measure and report a suite; without arguments suite mini, stack mini and all methods that fit.",
            _run,
        ),
        ("generate", "Make the images of a run and stop there.", _generate),
    ):
        part = command(commands, name, text, call, as_json=name == "run")
        part.add_argument(
            "suite", nargs="?", default=None, help=f"name of a suite (default: the first {FIRST} samples of mini)"
        )
        add_stack_options(part)
        part.add_argument(
            "--methods",
            default="",
            metavar="A,B@PRESET",
            help="methods, each with a preset if wanted (default: all that fit)",
        )
        part.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the named methods; repeatable"
        )
        part.add_argument("--seeds", type=int, default=1, help="images per sample (default: 1)")
        part.add_argument("--limit", type=int, default=None, metavar="N", help="only the first N samples")
        part.add_argument(
            "--adversaries", action="store_true", help="add rows that obey nothing and are drawn to please the scorers"
        )
        part.add_argument("--name", default=None, help="name of the run's folder (default: SUITE-STACK)")
        part.add_argument("--device", default=None, help="cpu or cuda (default: cuda if there is one)")
        part.add_argument("--report", default="html", help="kind of report (default: html)")
        if name == "run":
            _fail_above(part)
    for name, text, call in (
        ("measure", "Score the images of a run; features that are stored are not computed again.", _measure),
        ("report", "Write the report of a measured run again.", _report),
    ):
        part = command(commands, name, text, call, as_json=name == "measure")
        part.add_argument("run", help="name or folder of a run")
        if name == "report":
            part.add_argument(
                "--kind", "--report", dest="report", default="html",
                help="html, markdown, latex, csv, coco, figures, contact_sheets, or a kind of your own (default: html)",
            )  # fmt: skip
            part.add_argument("--out", type=Path, help="folder to write to (default: report/ in the run's folder)")
        else:
            part.add_argument("--device", default=None, help="cpu or cuda (default: cuda if there is one)")
            _fail_above(part)


def _fail_above(part: argparse.ArgumentParser) -> None:
    part.add_argument(
        "--fail-above", type=float, default=1.0, metavar="SHARE",
        help="exit with 1 if a method lost more than this share of its images (default: never)",
    )  # fmt: skip


def _lost(options: argparse.Namespace, results: Mapping[str, Any]) -> int:
    """1 if a method lost more of its images than was allowed, and say which; else 0."""
    code = 0
    for method in results["methods"]:
        counts = method["counts"]
        lost = counts["failed"] + counts["missing"]
        if method["kind"] != "reference" and lost > options.fail_above * counts["requested"]:
            print(f"{method['name']} lost {lost} of {counts['requested']} images", file=sys.stderr)
            code = 1
    return code


def _run(options: argparse.Namespace) -> int:
    plan, run = _planned(options)
    fill(options, plan, run)
    results = score(options, plan, run)
    _publish(options, results, run)
    return _lost(options, results)


def _generate(options: argparse.Namespace) -> int:
    plan, run = _planned(options)
    fill(options, plan, run)
    print(f"images of {len(plan.rows)} rows are there; go on with: layoutmark measure {plan.name}")
    return 0


def _measure(options: argparse.Namespace) -> int:
    run = _folder(options.run)
    results = score(options, read_plan(run), run)
    if options.json:
        print_json(results["rows"])
    else:
        print_table(results, Console(), run)
    return _lost(options, results)


def _report(options: argparse.Namespace) -> int:
    run = _folder(options.run)
    written = write_report(RunFolder(run).read_results(), run, options.report, registry(options), options.out)
    if written.suffix == ".md":
        add_to_step_summary(written.read_text("utf-8"))
    print(written)
    return 0


def _planned(options: argparse.Namespace) -> tuple[Plan, Path]:
    names = [m.strip() for m in options.methods.split(",") if m.strip()]
    if options.set and not names:
        raise LayoutmarkError(
            "--set", found="no --methods", expected="the methods it is meant for", do="Name them with --methods."
        )
    plan = make_plan(
        registry(options),
        suite=options.suite or "mini",
        stack=options.stack,
        methods=names,
        seeds=options.seeds,
        limit=FIRST if options.suite is None and options.limit is None else options.limit,
        name=options.name,
        overrides=parse_overrides(options.set),
        dtype=options.dtype,
        adversaries=options.adversaries,
    )
    run = runs_folder() / plan.name
    write_text(run / PLAN, json.dumps(plan.to_json(), indent=1, sort_keys=True) + "\n")
    return plan, run


def fill(options: argparse.Namespace, plan: Plan, run: Path) -> None:
    """Make the images of a plan that are not there yet."""
    guests = registry(options)
    suite = open_suite(guests, plan.suite, guests.get_stack(plan.stack), plan.limit)
    with Bars("generate") as bars:
        spent = generate(plan, suite, guests, Store(home()), options.device, bars)
    if any(spent.values()):
        path = run / "generate_seconds.json"
        before = json.loads(path.read_text("utf-8")) if path.exists() else {}
        spent = {name: seconds or before.get(name, 0.0) for name, seconds in spent.items()}
        write_text(path, json.dumps(spent, sort_keys=True) + "\n")


def score(options: argparse.Namespace, plan: Plan, run: Path) -> dict[str, Any]:
    """Measure a plan's images and write the results into the run folder; returns them."""
    guests = registry(options)
    entry = guests.get_suite(plan.suite)
    suite = open_suite(guests, plan.suite, guests.get_stack(plan.stack), plan.limit)
    if suite.digest != plan.suite_digest:
        raise LayoutmarkError(
            f"run {plan.name!r}",
            found=f"suite {plan.suite!r} with content {suite.digest[:12]}",
            expected=f"{plan.suite_digest[:12]}, as it was planned with",
            do=f"Run: layoutmark run {plan.suite} --name {plan.name}",
        )
    seconds = run / "generate_seconds.json"
    spent = json.loads(seconds.read_text("utf-8")) if seconds.exists() else {}
    with Bars("measure") as bars:
        return measure(
            plan, suite, entry.suite, entry.card.licence, guests, Store(home()), run, options.device, bars, spent
        )


def _publish(options: argparse.Namespace, results: dict[str, Any], run: Path) -> None:
    write_report(results, run, options.report, registry(options))
    if options.json:
        print_json(results["rows"])
    else:
        print_table(results, Console(), run)


def _folder(name: str) -> Path:
    """A run that was begun: a folder, or a name below runs/."""
    for path in (runs_folder() / name, Path(name)):
        if (path / PLAN).is_file() or (path / "results.json").is_file():
            return path
    known = sorted(p.parent.name for p in runs_folder().glob(f"*/{PLAN}"))
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    raise LayoutmarkError(
        "unknown run",
        found=repr(name),
        expected="one of " + (", ".join(known) or "(none)"),
        do=f"Did you mean {close[0]!r}?" if close else "Run: layoutmark run",
    )
