"""`layoutmark train`: repeat the committed recipes of stacks and methods, and measure what a model card shows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from layoutmark.cli.common import command, print_rows, shelf
from layoutmark.errors import LayoutmarkError, MissingPackage, unknown_name
from layoutmark.provenance import digest_file
from layoutmark.shelf import MethodEntry, Shelf, StackEntry
from layoutmark.shelf.entries import generator_weights


def add(commands: Any) -> None:
    """Add the command."""
    part = command(
        commands, "train", "Train a stack or a method by its committed recipe, or measure a stack's model card.", _train
    )
    part.add_argument(
        "what",
        metavar="WHAT",
        help="stack: train it, resuming from checkpoints; card: measure the trained weights and write the model card; "
        "or the name of a method with a recipe: train its weights on the stack",
    )
    part.add_argument("--stack", default="mini", help="name of the stack (default: mini)")
    part.add_argument(
        "--warm", action="store_true", help="start the generator from the weights that are there instead of random ones"
    )
    part.add_argument("--work", type=Path, default=Path("build/training"), help="folder of renders and checkpoints")
    part.add_argument(
        "--out", type=Path, default=None, help="folder of the weights (default: that of the stack or method itself)"
    )
    part.add_argument(
        "--scale", type=float, default=1.0, help="factor on all step counts of training, for a quick trial (default: 1)"
    )


def _train(options: argparse.Namespace) -> int:
    guests = shelf(options)
    trainable = [name for name, found in guests.methods().items() if (found.folder / "train.py").is_file()]
    if options.what not in (kinds := ["stack", "card", *trainable]):
        raise unknown_name("recipe", options.what, kinds)
    entry = guests.get_stack(options.stack)
    if entry.name != "mini":
        raise LayoutmarkError(
            f"stack {entry.name!r}",
            found="published weights",
            expected="a stack with a recipe: mini",
            do="Use --stack mini.",
        )
    world = guests.get_suite("mini").load()
    try:
        if options.what == "card":
            return _card(world, entry, guests, options.out or entry.folder, options.work)
        if options.what == "stack":
            from layoutmark.training.stack import train_stack

            train_stack(world, options.work, options.out or entry.folder, scale=options.scale, warm=options.warm)
            return 0
        return _method(world, entry, guests.get_method(options.what), options)
    except ModuleNotFoundError as error:
        raise MissingPackage.of("training", str(error.name), "mini") from error


def _method(world: Any, stack: StackEntry, method: MethodEntry, options: argparse.Namespace) -> int:
    """Train a method's weights for a stack; they go to its folder `weights`."""
    recipe = method.load_recipe()
    from layoutmark.generate import load
    from layoutmark.training.data import TRAIN_SEED, renders
    from layoutmark.training.method import train_method
    from layoutmark.training.stack import RENDERS, SIDE

    pictures = renders(world, options.work, TRAIN_SEED, RENDERS, SIDE)
    out = (options.out or method.folder / "weights") / f"{stack.name}.safetensors"
    facts = train_method(
        method.name, recipe.recipe(load(stack, None), pictures), options.work, out, scale=options.scale,
        made_on=digest_file(generator_weights(stack)),
    )  # fmt: skip
    print(f"{facts['steps']} steps in {facts['seconds']} s; the weights are in {out}")
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
