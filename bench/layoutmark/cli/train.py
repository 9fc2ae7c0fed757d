"""`layoutmark train`: repeat the committed recipes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from layoutmark.cli.common import command, shelf
from layoutmark.errors import LayoutmarkError, MissingPackage


def add(commands: Any) -> None:
    """Add the command."""
    part = command(commands, "train", "Train a stack by its committed recipe; resumes from its checkpoints.", _train)
    part.add_argument("what", choices=["stack"], help="what to train")
    part.add_argument("--stack", default="mini", help="name of the stack (default: mini)")
    part.add_argument("--work", type=Path, default=Path("build/training"), help="folder of renders and checkpoints")
    part.add_argument(
        "--out", type=Path, default=None, help="where to write the weights (default: the stack's own folder)"
    )
    part.add_argument(
        "--scale", type=float, default=1.0, help="factor on all step counts, for a quick trial (default: 1)"
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
    try:
        from layoutmark.training.stack import train_stack
    except ModuleNotFoundError as error:
        raise MissingPackage.of("training", str(error.name), "mini") from error
    train_stack(guests.get_suite("mini").load(), options.work, options.out or entry.folder, scale=options.scale)
    return 0
