"""`layoutmark doctor`: find silent errors in seconds, before hours are spent."""

from __future__ import annotations

import argparse

from layoutmark.cli.options import make_registry
from layoutmark.cli.output import print_json
from layoutmark.cli.parser import Parser, set_up
from layoutmark.doctor import open_context, run_checks, store_canaries


def configure(parser: Parser) -> None:
    """Add the arguments."""
    set_up(
        parser, _doctor, example="doctor --suite mini --stack mini",
        exit_codes={0: "every check passed", 1: "a check failed"}, as_json=True,
    )  # fmt: skip
    parser.add_argument("--suite", default="mini", help="name of a suite (default: mini)")
    parser.add_argument("--stack", default="mini", help="name of a stack (default: mini)")
    parser.add_argument(
        "--store-canaries", action="store_true",
        help="store in the stack's folder how its scorers judge four true images, to detect drift later",
    )  # fmt: skip


def _doctor(options: argparse.Namespace) -> int:
    registry = make_registry(options)
    if options.store_canaries:
        print(store_canaries(open_context(registry, options.suite, options.stack)))
        return 0
    checks = run_checks(registry, options.suite, options.stack)
    if options.json:
        print_json([check.to_json() for check in checks])
    else:
        for check in checks:
            print(f"{'ok' if check.ok else 'WRONG':5}  {check.name}: {check.detail}")
        print(f"{sum(check.ok for check in checks)} of {len(checks)} checks are ok")
    return 0 if all(check.ok for check in checks) else 1
