"""`layoutmark generate`: the images of a run, without measuring them."""

from __future__ import annotations

import argparse

from layoutmark.cli.options import add_device_option, add_limit_option, add_stack_options
from layoutmark.cli.parser import Parser, set_up
from layoutmark.cli.stages import DEFAULT_DEMO_SAMPLES, generate_missing, plan_run


def configure(parser: Parser) -> None:
    """Add the arguments."""
    set_up(parser, _generate, example="generate mini --methods base --limit 8")
    add_plan_options(parser)


def add_plan_options(parser: Parser) -> None:
    """Options that make a plan, shared with `layoutmark run`."""
    parser.add_argument(
        "suite", nargs="?", default=None,
        help=f"name of a suite (default: the first {DEFAULT_DEMO_SAMPLES} samples of mini)",
    )  # fmt: skip
    add_stack_options(parser)
    parser.add_argument(
        "--methods", default="", metavar="A,B@PRESET",
        help="methods, each with a preset if wanted (default: all that fit)",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the named methods; repeatable"
    )
    parser.add_argument("--seeds", type=int, default=1, help="images per sample (default: 1)")
    add_limit_option(parser)
    parser.add_argument(
        "--adversaries", action="store_true",
        help="add rows of adversarial images, which ignore the layout and are made to score well",
    )  # fmt: skip
    parser.add_argument("--name", default=None, help="name of the run's folder (default: SUITE-STACK)")
    add_device_option(parser)
    parser.add_argument("--report", default="html", help="kind of report (default: html)")


def _generate(options: argparse.Namespace) -> int:
    plan, run = plan_run(options)
    generate_missing(options, plan, run)
    print(f"Generated the images of {len(plan.rows)} rows. Next: layoutmark measure {plan.name}")
    return 0
