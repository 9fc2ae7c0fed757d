"""`layoutmark measure`: score the images of a run."""

from __future__ import annotations

import argparse

from layoutmark.cli.options import LOSS_EXIT_CODES, add_device_option, add_loss_option
from layoutmark.cli.parser import Parser, set_up
from layoutmark.cli.stages import check_losses, find_run, measure_images, print_results
from layoutmark.plan.plan import read_plan


def configure(parser: Parser) -> None:
    """Add the arguments."""
    set_up(parser, _measure, example="measure mini-mini", exit_codes=LOSS_EXIT_CODES, as_json=True)
    parser.add_argument("run", help="name or folder of a run")
    add_device_option(parser)
    add_loss_option(parser)


def _measure(options: argparse.Namespace) -> int:
    run = find_run(options.run)
    results = measure_images(options, read_plan(run), run)
    print_results(options, results, run)
    return check_losses(options, results)
