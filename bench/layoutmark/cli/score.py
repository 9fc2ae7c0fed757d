"""`layoutmark score`: external images, scored like any other row."""

from __future__ import annotations

import argparse
from pathlib import Path

from layoutmark.cli.options import add_device_option, add_limit_option, make_registry
from layoutmark.cli.parser import Parser, set_up
from layoutmark.cli.progress import ProgressBars
from layoutmark.cli.stages import print_results, write_plan
from layoutmark.generate.external import add_external_row, read_images
from layoutmark.generate.generation import generate
from layoutmark.measure import measure
from layoutmark.plan.plan import make_plan
from layoutmark.report import write_report
from layoutmark.store import Store, home_folder
from layoutmark.suites.opening import open_full_suite, open_suite


def configure(parser: Parser) -> None:
    """Add the arguments."""
    set_up(parser, _score, example="score my-images --suite mini --label mine", as_json=True)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of images")
    parser.add_argument("--suite", default="mini", help="name of the suite they were made for (default: mini)")
    parser.add_argument("--stack", default="mini", help="stack with the scorers to use (default: mini)")
    add_limit_option(parser)
    parser.add_argument("--label", default=None, help="name of the row (default: the folder's name)")
    parser.add_argument("--name", default=None, help="name of the run's folder (default: score-LABEL)")
    add_device_option(parser)


def _score(options: argparse.Namespace) -> int:
    registry, store = make_registry(options), Store(home_folder())
    label = options.label or options.folder.resolve().name
    plan = make_plan(
        registry, suite=options.suite, stack=options.stack, methods=None, limit=options.limit,
        name=options.name or f"score-{label}",
    )  # fmt: skip
    suite = open_suite(registry, plan.suite, registry.get_stack(plan.stack), plan.limit)
    images = read_images(options.folder, suite, open_full_suite(registry, plan.suite))
    plan = add_external_row(plan, suite, label, images, store)
    run = write_plan(plan)
    with ProgressBars("generate") as bars:
        generate(plan, suite, registry, store, options.device, bars)
    entry = registry.get_suite(plan.suite)
    with ProgressBars("measure") as bars:
        results = measure(plan, suite, entry.suite, entry.card.licence, registry, store, run, options.device, bars, {})
    write_report(results, run, "html", registry)
    print_results(options, results, run)
    return 0
