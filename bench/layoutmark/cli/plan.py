"""`layoutmark plan`: how many prompts and seeds a difference needs, by the spread of a finished run."""

from __future__ import annotations

import argparse
from typing import Any

from layoutmark.cli.output import command, print_json, print_rows, shown_names
from layoutmark.compare import design_study, read_rows
from layoutmark.compare.designs import POWER
from layoutmark.store import RunFolder, parse_address


def add(commands: Any) -> None:
    """Add the command."""
    text = "Say how many prompts and seeds a comparison needs, from a finished run as its pilot."
    part = command(commands, "plan", text, _plan, as_json=True)
    part.add_argument(
        "rows", nargs="*", default=["mini-mini"], metavar="RUN[:METHOD]",
        help="the pilot: a run, or methods of runs (default: mini-mini, what `layoutmark run` makes)",
    )  # fmt: skip
    part.add_argument("--detect", type=float, required=True, metavar="D", help="the least difference that matters")
    part.add_argument("--metric", default="ap50", help="name of a metric (default: ap50)")
    part.add_argument("--power", type=float, default=POWER, help=f"chance of finding it (default: {POWER})")
    part.add_argument(
        "--comparisons", type=int, default=1, metavar="M",
        help="plan for M differences corrected together, as `layoutmark compare` does (default: 1)",
    )  # fmt: skip


def _plan(options: argparse.Namespace) -> int:
    addresses = [(text, *parse_address(text)) for text in options.rows]
    rows = read_rows([(text, RunFolder(folder), method) for text, folder, method in addresses])
    found = design_study(rows, options.metric, options.detect, options.power, options.comparisons)
    if options.json:
        print_json(found)
        return 0
    seeds = sorted({d["seeds"] for pair in found["pairs"] for d in pair["designs"]})
    shown = shown_names(name for pair in found["pairs"] for name in (pair["a"], pair["b"]))
    print_rows(
        ("pair", "pilot", "spread of prompts", "of seeds", *(f"{k} seed{'s' * (k > 1)}" for k in seeds)),
        [_row(pair, seeds, shown) for pair in found["pairs"]],
        f"{options.metric}: prompts that find a true difference of {options.detect:g} with power {options.power:g}",
    )
    for pair in found["pairs"]:
        if pair["reason"]:
            print(f"{shown[pair['a']]} - {shown[pair['b']]}: {pair['reason']}")
    if any(pair["designs"] and pair["between_seeds"] is None for pair in found["pairs"]):
        print("The pilot has one seed of each sample, so what more seeds bring cannot be told: run it with --seeds 2.")
    return 0


def _row(pair: dict[str, Any], seeds: list[int], shown: dict[str, str]) -> tuple[str, ...]:
    needed = {d["seeds"]: f"{d['prompts']:,}" for d in pair["designs"]}
    spreads = ["not known" if pair[k] is None else f"{pair[k]:.3f}" for k in ("between_prompts", "between_seeds")]
    names = f"{shown[pair['a']]} - {shown[pair['b']]}"
    return names, f"{pair['n']} images", *spreads, *(needed.get(k, "not known") for k in seeds)
