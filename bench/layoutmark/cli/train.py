"""`layoutmark train`: repeat the committed recipes, and measure what a model card shows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from layoutmark.cli.common import command, print_rows, shelf
from layoutmark.errors import LayoutmarkError, MissingPackage
from layoutmark.shelf import Shelf, StackEntry


def add(commands: Any) -> None:
    """Add the command."""
    part = command(commands, "train", "Train a stack by its committed recipe, or measure its model card.", _train)
    part.add_argument(
        "what",
        choices=["stack", "card"],
        help="stack: train it, resuming from checkpoints; card: measure the trained weights and write the model card",
    )
    part.add_argument("--stack", default="mini", help="name of the stack (default: mini)")
    part.add_argument(
        "--warm", action="store_true", help="start the generator from the weights that are there instead of random ones"
    )
    part.add_argument("--work", type=Path, default=Path("build/training"), help="folder of renders and checkpoints")
    part.add_argument("--out", type=Path, default=None, help="folder of the weights (default: the stack's own folder)")
    part.add_argument(
        "--scale", type=float, default=1.0, help="factor on all step counts of training, for a quick trial (default: 1)"
    )


def _train(options: argparse.Namespace) -> int:
    guests = shelf(options)
    entry = guests.get_stack(options.stack)
    if entry.name != "mini":
        raise LayoutmarkError(
            f"stack {entry.name!r}",
            found="published weights",
            expected="a stack with a recipe: mini",
            do="Use --stack mini.",
        )
    folder = options.out or entry.folder
    world = guests.get_suite("mini").load()
    try:
        if options.what == "card":
            return _card(world, entry, guests, folder, options.work)
        from layoutmark.training.stack import train_stack
    except ModuleNotFoundError as error:
        raise MissingPackage.of("training", str(error.name), "mini") from error
    train_stack(world, options.work, folder, scale=options.scale, warm=options.warm)
    return 0


def _card(world: Any, entry: StackEntry, guests: Shelf, folder: Path, work: Path) -> int:
    """Measure and write; a missed bar is said, and is no error."""
    from layoutmark.training.card import measure_card
    from layoutmark.training.card_page import read_facts, write_card

    read_facts(folder)  # fails before the long measuring
    data = write_card(entry.card, folder, measure_card(world, entry, guests, folder, work))
    rows = [
        (f["name"], f"{f['value']:.4f}", f"{f['least']:.2f}", str(f["n"]), "holds" if f["holds"] else "does not hold")
        for f in data["figures"]
    ]
    print_rows(("figure", "value", "at least", "n", "verdict"), rows)
    missed = sum(not f["holds"] for f in data["figures"])
    print(f"{len(rows) - missed} of {len(rows)} bars hold; the card is in {folder}")
    return 0
