"""`layoutmark score`: images made elsewhere, judged like any other row."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from layoutmark.atomic import write_text
from layoutmark.cli.output import Bars, command, print_json, registry
from layoutmark.generate.external import add_row, read_folder
from layoutmark.generate.generation import generate
from layoutmark.measure import measure
from layoutmark.plan.plan import PLAN, make_plan
from layoutmark.report import print_table, write_report
from layoutmark.store import Store, runs_folder
from layoutmark.store import folders as home
from layoutmark.suites.opening import open_suite, whole_suite


def add(commands: Any) -> None:
    """Add the command."""
    part = command(
        commands,
        "score",
        "Score images made elsewhere: a folder with one PNG a sample, named SAMPLE_ID.png.",
        _score,
        as_json=True,
    )
    part.add_argument("folder", type=Path, help="folder of images")
    part.add_argument("--suite", default="mini", help="name of the suite they were made for (default: mini)")
    part.add_argument("--stack", default="mini", help="stack whose scorers judge (default: mini)")
    part.add_argument("--limit", type=int, default=None, metavar="N", help="only the first N samples")
    part.add_argument("--label", default=None, help="name of the row (default: the folder's name)")
    part.add_argument("--name", default=None, help="name of the run's folder (default: score-LABEL)")
    part.add_argument("--device", default=None, help="cpu or cuda (default: cuda if there is one)")


def _score(options: argparse.Namespace) -> int:
    guests, store = registry(options), Store(home())
    label = options.label or options.folder.resolve().name
    plan = make_plan(
        guests,
        suite=options.suite,
        stack=options.stack,
        methods=None,
        limit=options.limit,
        name=options.name or f"score-{label}",
    )
    suite = open_suite(guests, plan.suite, guests.get_stack(plan.stack), plan.limit)
    plan = add_row(plan, suite, label, read_folder(options.folder, suite, whole_suite(guests, plan.suite)), store)
    run = runs_folder() / plan.name
    write_text(run / PLAN, json.dumps(plan.to_json(), indent=1, sort_keys=True) + "\n")
    with Bars("generate") as bars:
        generate(plan, suite, guests, store, options.device, bars)
    entry = guests.get_suite(plan.suite)
    with Bars("measure") as bars:
        results = measure(plan, suite, entry.suite, entry.card.licence, guests, store, run, options.device, bars, {})
    write_report(results, run, "html", guests)
    if options.json:
        print_json(results["rows"])
    else:
        print_table(results, Console(), run)
    return 0
