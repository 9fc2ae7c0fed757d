"""`layoutmark personalise`: weights of every subject of a suite, for methods that need a personalised model."""

from __future__ import annotations

import argparse
from typing import Any

from layoutmark.cli.output import Bars, add_stack_options, command, registry
from layoutmark.errors import LayoutmarkError
from layoutmark.generate.generation import load
from layoutmark.suites.opening import open_suite
from layoutmark.training.personalise import personalise


def add(commands: Any) -> None:
    """Add the command."""
    part = command(
        commands, "personalise", "Train a subject's own weights for every reference of a suite, resuming.", _personalise
    )
    part.add_argument("suite", help="name of a suite with references")
    add_stack_options(part, dtype=False)
    part.add_argument(
        "--backend",
        default="dreambooth",
        help="dreambooth (a low-rank change of the attention) or textual_inversion (default: dreambooth)",
    )
    part.add_argument("--limit", type=int, default=None, metavar="N", help="only the first N samples")
    part.add_argument("--device", default=None, help="cpu or cuda (default: cuda if there is one)")


def _personalise(options: argparse.Namespace) -> int:
    guests = registry(options)
    entry = guests.get_stack(options.stack)
    suite = open_suite(guests, options.suite, entry, options.limit)
    if not suite.references(suite.samples[0].id):
        raise LayoutmarkError(
            f"suite {options.suite!r}", found="no references", expected="a suite whose instances have reference images",
            do="See: layoutmark suites list",
        )  # fmt: skip
    stack = load(entry, options.device)
    with Bars("personalise") as bars:
        count = personalise(suite, stack, options.backend, bars)
    print(f"{count} subjects of {options.suite} are there for {options.backend} on stack {options.stack}")
    return 0
