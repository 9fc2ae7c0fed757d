"""`layoutmark doctor`: the silent errors that can be found in seconds, before hours are spent."""

from __future__ import annotations

import argparse
from typing import Any

from layoutmark.cli.output import command, print_json, registry
from layoutmark.doctor import admit, examine, store_canaries


def add(commands: Any) -> None:
    """Add the command."""
    part = command(
        commands,
        "doctor",
        "Check a suite, a stack and its scorers for silent errors; the exit code is 1 if one is found.",
        _doctor,
        as_json=True,
    )
    part.add_argument("--suite", default="mini", help="name of a suite (default: mini)")
    part.add_argument("--stack", default="mini", help="name of a stack (default: mini)")
    part.add_argument(
        "--store-canaries",
        action="store_true",
        help="write into the stack's folder what its scorers say of four true images, to notice drift later",
    )


def _doctor(options: argparse.Namespace) -> int:
    if options.store_canaries:
        print(store_canaries(admit(registry(options), options.suite, options.stack)))
        return 0
    found = examine(registry(options), options.suite, options.stack)
    if options.json:
        print_json([c.to_json() for c in found])
    else:
        for check in found:
            print(f"{'ok' if check.ok else 'WRONG':5}  {check.name}: {check.detail}")
        print(f"{sum(c.ok for c in found)} of {len(found)} checks are ok")
    return 0 if all(c.ok for c in found) else 1
