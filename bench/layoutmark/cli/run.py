"""`layoutmark run`: generate, measure and report."""

from __future__ import annotations

import argparse

from layoutmark.cli.generate import add_plan_options
from layoutmark.cli.options import LOSS_EXIT_CODES, add_loss_option, make_registry
from layoutmark.cli.parser import Parser, set_up
from layoutmark.cli.stages import check_losses, generate_missing, measure_images, plan_run, print_results
from layoutmark.report import write_report


def configure(parser: Parser) -> None:
    """Add the arguments."""
    set_up(
        parser, _run, example="run mini --methods base,ilgd --seeds 2", exit_codes=LOSS_EXIT_CODES, as_json=True
    )  # fmt: skip
    add_plan_options(parser)
    add_loss_option(parser)


def _run(options: argparse.Namespace) -> int:
    plan, run = plan_run(options)
    generate_missing(options, plan, run)
    results = measure_images(options, plan, run)
    write_report(results, run, options.report, make_registry(options))
    print_results(options, results, run)
    return check_losses(options, results)
