"""`layoutmark methods`: list, show, and `check`, which runs the conformance suite or replays recorded tensors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from layoutmark.cli.options import make_registry, parse_device
from layoutmark.cli.output import print_json, print_rows
from layoutmark.cli.parser import Parser, add_verb
from layoutmark.cli.plugins import add_list_and_show
from layoutmark.errors import MissingPackageError
from layoutmark.registry import Dtype, MethodEntry

if TYPE_CHECKING:
    from layoutmark.diffusion.golden import Difference

EXIT_CODES = {0: "every check passed", 1: "a check failed"}


def configure(parser: Parser) -> None:
    """Add the subcommands."""
    verbs, _ = add_list_and_show(parser, "methods")
    check_parser = add_verb(
        verbs, "check", "Run the conformance suite on a method, or replay tensors of its public implementation.",
        _check, example="methods check base --stack tiny", exit_codes=EXIT_CODES, as_json=True,
    )  # fmt: skip
    check_parser.add_argument("name", help="its name")
    check_parser.add_argument(
        "--stack", default=None,
        help="a stack, or `tiny` for random models of toy size (default: mini if the method has weights for it, "
        "else tiny)",
    )  # fmt: skip
    check_parser.add_argument(
        "--dtype", default=Dtype.FP32, metavar="NAME",
        help=f"dtype of the stack's weights: {', '.join(Dtype)} (default: {Dtype.FP32})",
    )  # fmt: skip
    check_parser.add_argument("--device", type=parse_device, default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    check_parser.add_argument(
        "--golden", type=Path, default=None, metavar="FOLDER", help="replay this folder instead of running the checks"
    )


def _check(options: argparse.Namespace) -> int:
    entry = make_registry(options).get_method(options.name)
    try:
        from layoutmark.conformance import Outcome, check_method, make_candidate
    except ModuleNotFoundError as error:
        raise MissingPackageError.of("methods check", str(error.name), "torch") from error
    if options.golden is not None:
        return _replay(entry, options)
    candidate = make_candidate(entry, options.stack, device=options.device, dtype=options.dtype)
    verdicts = list(check_method(candidate))
    rows = [{"check": name, "outcome": str(verdict.outcome), "reason": verdict.reason} for name, verdict in verdicts]
    if options.json:
        print_json(rows)
    else:
        print_rows(("check", "outcome", "reason"), [tuple(row.values()) for row in rows])
    return int(any(verdict.outcome is Outcome.FAILED for _, verdict in verdicts))


def _replay(entry: MethodEntry, options: argparse.Namespace) -> int:
    from layoutmark.conformance import replay

    differences = replay(entry, options.golden)
    if options.json:
        print_json([difference.to_json() for difference in differences])
    else:
        print_rows(("tensor", "absolute", "relative", "tolerance", "ok"), [_cells(d) for d in differences])
        for difference in differences:
            if difference.note:
                print(f"{difference.tensor}: {difference.note}")
        passed = [difference.ok for difference in differences if difference.tolerance is not None]
        not_compared = len(differences) - len(passed)
        print(f"{passed.count(True)} within tolerance, {passed.count(False)} over, {not_compared} not compared")
    return int(any(not difference.ok for difference in differences))


def _cells(difference: Difference) -> tuple[str, ...]:
    if difference.tolerance is None:
        return difference.tensor, "", "", "", "-"
    numbers = (f"{value:.2g}" for value in (difference.absolute, difference.relative, difference.tolerance))
    return difference.tensor, *numbers, "yes" if difference.ok else "NO"
