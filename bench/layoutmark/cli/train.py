"""`layoutmark train`: repeat the committed recipes of stacks and methods, and measure what a model card shows."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from layoutmark.cli.output import add_stack_options, command, print_rows, registry
from layoutmark.errors import LayoutmarkError, MissingPackage, unknown_name
from layoutmark.provenance import digest_file
from layoutmark.registry import MethodEntry, Registry, StackEntry, parse_overrides, resolve_settings
from layoutmark.suites.opening import open_suite

MINI = "mini"


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
    add_stack_options(part, dtype=False)
    part.add_argument(
        "--warm", action="store_true", help="start the generator from the weights that are there instead of random ones"
    )
    part.add_argument(
        "--preset", default="", help="train the weights of this preset of the method instead of its default ones"
    )
    part.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the method; repeatable"
    )
    part.add_argument(
        "--suite",
        default="",
        help="train on the pictures of this suite (default: those of the miniature world)",
    )
    part.add_argument("--pictures", type=Path, default=None, metavar="FOLDER", help="where the suite's pictures lie")
    part.add_argument("--batch", type=int, default=None, metavar="N", help="pictures at once (default: the recipe's)")
    part.add_argument(
        "--accumulate", type=int, default=1, metavar="N", help="batches whose gradients make one step (default: 1)"
    )
    part.add_argument("--steps", type=int, default=None, metavar="N", help="steps in all (default: the recipe's)")
    part.add_argument("--device", default=None, help="cpu or cuda (default: cuda if there is one)")
    part.add_argument(
        "--checkpoint-every", type=int, default=250, metavar="N", help="steps between checkpoints (default: 250)"
    )
    part.add_argument("--work", type=Path, default=Path("build/training"), help="folder of renders and checkpoints")
    part.add_argument(
        "--out", type=Path, default=None, help="folder of the weights (default: that of the stack or method itself)"
    )
    part.add_argument(
        "--scale", type=float, default=1.0, help="factor on all step counts of training, for a quick trial (default: 1)"
    )


def _train(options: argparse.Namespace) -> int:
    guests = registry(options)
    trainable = [name for name, found in guests.methods().items() if (found.folder / "train.py").is_file()]
    if options.what not in (kinds := ["stack", "card", *trainable]):
        raise unknown_name("recipe", options.what, kinds)
    entry = guests.get_stack(options.stack)
    try:
        if options.what in trainable:
            return _method(entry, guests.get_method(options.what), guests, options)
        if entry.name != MINI:
            raise _no_recipe(f"stack {entry.name!r}", [MINI])
        world = guests.get_suite(MINI).load()
        if options.what == "card":
            return _card(world, entry, guests, options.out or entry.folder, options.work)
        from layoutmark.training.stack import train_stack

        train_stack(world, options.work, options.out or entry.folder, scale=options.scale, warm=options.warm)
        return 0
    except ModuleNotFoundError as error:
        raise MissingPackage.of("training", str(error.name), "mini") from error


def _no_recipe(what: str, stacks: Iterable[str]) -> LayoutmarkError:
    return LayoutmarkError(
        what,
        found="no recipe for it",
        expected="a stack with a recipe: " + ", ".join(stacks),
        do="Give that as --stack.",
    )


def _method(stack: StackEntry, method: MethodEntry, guests: Registry, options: argparse.Namespace) -> int:
    """Train a method's weights for a stack; they go to its folder `weights`."""
    recipe = method.load_recipe()
    told = _told(recipe, stack, method, options)
    from layoutmark.generate.generation import generator_folder, load
    from layoutmark.training.distributed import assemble
    from layoutmark.training.method import train_method

    team = assemble()
    loaded = load(stack, team.device or options.device)
    pictures = _pictures(loaded, stack, guests, options)
    label = "-".join([stack.name, *options.preset.split("_")] if options.preset else [stack.name])
    out = (options.out or method.folder / "weights") / f"{label}.safetensors"
    unet = min((generator_folder(stack) / "unet").glob("*.safetensors"))
    facts = train_method(
        f"{method.name}-{label}", recipe.recipe(loaded, pictures, **told), options.work, out, scale=options.scale,
        made_on=digest_file(unet), accumulate=options.accumulate, team=team, checkpoint_every=options.checkpoint_every,
    )  # fmt: skip
    if team.rank == 0:
        print(f"{facts['steps']} steps in {facts['seconds']} s; the weights are in {out}")
    return 0


def _told(recipe: ModuleType, stack: StackEntry, method: MethodEntry, options: argparse.Namespace) -> dict[str, Any]:
    """What the recipe is told (see `layoutmark.diffusion.recipe.Recipe`)."""
    stacks: Mapping[str, Mapping[str, Any]] = getattr(recipe, "STACKS", {MINI: {}})
    presets: Mapping[str, Mapping[str, Any]] = getattr(recipe, "PRESETS", {})
    if stack.name not in stacks:
        raise _no_recipe(f"method {method.name!r} on stack {stack.name!r}", stacks)
    if options.preset and options.preset not in presets:
        raise unknown_name(f"preset with weights of its own of method {method.name!r}", options.preset, presets)
    settings = resolve_settings(method.card, stack.name, options.preset, parse_overrides(options.set))
    asked = {"batch": options.batch, "steps": options.steps}
    given = {key: value for key, value in asked.items() if value is not None}
    fixed = sorted(given.keys() - stacks[stack.name].keys())
    for key, value in {**given, "accumulate": options.accumulate, "checkpoint-every": options.checkpoint_every}.items():
        if value < 1 or key in fixed:
            raise LayoutmarkError(
                f"--{key}", found=str(value), expected="that of the recipe" if key in fixed else "at least 1",
                do="Leave it out.",
            )  # fmt: skip
    chosen = {key: settings[key] for key in getattr(recipe, "SETTINGS", ())}
    return {**stacks[stack.name], **chosen, **presets.get(options.preset, {}), **given}


def _pictures(loaded: Any, stack: StackEntry, guests: Registry, options: argparse.Namespace) -> Any:
    """Of the suite asked for, else renders of the miniature world, which are those of the miniature stack alone."""
    from layoutmark.training.data import TRAIN_SEED, renders
    from layoutmark.training.stack import RENDERS, SIDE
    from layoutmark.training.suite_images import suite_pictures

    if options.suite:
        suite = open_suite(guests, options.suite, stack, None)
        side = loaded.latent_shape[1] * loaded.pixels_per_cell
        found, without = suite_pictures(suite, options.pictures, side)
        print(f"{len(found.facts):,} pictures of {suite.name}" + (f", {without:,} samples without" if without else ""))
        return found
    if stack.name != MINI:
        raise LayoutmarkError(
            f"training on stack {stack.name!r}", found="no pictures", expected="a suite with pictures",
            do="Give --suite NAME, and --pictures FOLDER where the suite has none of its own.",
        )  # fmt: skip
    return renders(guests.get_suite(MINI).load(), options.work, TRAIN_SEED, RENDERS, SIDE)


def _card(world: Any, entry: StackEntry, guests: Registry, folder: Path, work: Path) -> int:
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
