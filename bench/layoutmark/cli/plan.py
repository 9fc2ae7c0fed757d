"""`layoutmark plan`: the prompts and seeds that a comparison needs, from the spread of a finished run."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from layoutmark.cli.output import print_json, print_rows, short_names
from layoutmark.cli.parser import Parser, set_up
from layoutmark.compare import design_study, read_rows
from layoutmark.compare.designs import DEFAULT_POWER
from layoutmark.plurals import counted
from layoutmark.store import RunFolder, parse_run_address


def configure(parser: Parser) -> None:
    """Add the arguments."""
    set_up(parser, _plan, example="plan mini-mini --detect 0.05 --metric ap50", as_json=True)
    parser.add_argument(
        "rows", nargs="*", default=["mini-mini"], metavar="RUN[:METHOD]",
        help="the pilot: a run, or methods of runs (default: mini-mini, which `layoutmark run` makes)",
    )  # fmt: skip
    parser.add_argument("--detect", type=float, required=True, metavar="D", help="smallest difference that matters")
    parser.add_argument("--metric", default="ap50", help="name of a metric (default: ap50)")
    parser.add_argument(
        "--power", type=float, default=DEFAULT_POWER,
        help=f"probability of detecting the difference (default: {DEFAULT_POWER})",
    )  # fmt: skip
    parser.add_argument(
        "--comparisons", type=int, default=1, metavar="M",
        help="plan for M differences corrected together, as `layoutmark compare` does (default: 1)",
    )  # fmt: skip


def _plan(options: argparse.Namespace) -> int:
    addresses = [(text, *parse_run_address(text)) for text in options.rows]
    pilot_rows = read_rows([(text, RunFolder(folder), method) for text, folder, method in addresses])
    study = design_study(pilot_rows, options.metric, options.detect, options.power, options.comparisons)
    if options.json:
        print_json(study)
    else:
        _print_study(study, options)
    return 0


def _print_study(study: Mapping[str, Any], options: argparse.Namespace) -> None:
    pairs = study["pairs"]
    seed_counts = sorted({design["seeds"] for pair in pairs for design in pair["designs"]})
    names = short_names(name for pair in pairs for name in (pair["a"], pair["b"]))
    print_rows(
        ("pair", "pilot", "spread of prompts", "of seeds", *(counted(n, "seed") for n in seed_counts)),
        [_cells(pair, seed_counts, names) for pair in pairs],
        f"{options.metric}: prompts that detect a true difference of {options.detect:g} with power {options.power:g}",
    )
    for pair in pairs:
        if pair["reason"]:
            print(f"{names[pair['a']]} - {names[pair['b']]}: {pair['reason']}")
    if any(pair["designs"] and pair["between_seeds"] is None for pair in pairs):
        print("The pilot has one seed per sample, so the benefit of more seeds is unknown. Run it with --seeds 2.")


def _cells(pair: Mapping[str, Any], seed_counts: Sequence[int], names: Mapping[str, str]) -> tuple[str, ...]:
    prompts = {design["seeds"]: f"{design['prompts']:,}" for design in pair["designs"]}
    spreads = ["unknown" if pair[key] is None else f"{pair[key]:.3f}" for key in ("between_prompts", "between_seeds")]
    label = f"{names[pair['a']]} - {names[pair['b']]}"
    return label, f"{pair['n']} images", *spreads, *(prompts.get(n, "unknown") for n in seed_counts)
