"""`layoutmark train`: repeat the committed recipes of stacks and methods, and measure what a model card shows."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from layoutmark.cli.options import add_device_option, add_stack_options, make_registry
from layoutmark.cli.output import print_rows
from layoutmark.cli.parser import Parser, set_up
from layoutmark.errors import LayoutmarkError, MissingPackageError, unknown_name_error
from layoutmark.provenance import digest_file
from layoutmark.registry import MethodEntry, Registry, StackEntry, parse_overrides, resolve_settings
from layoutmark.suites.opening import open_suite

MINI = "mini"


def configure(parser: Parser) -> None:
    """Add the arguments."""
    set_up(parser, _train, example="train locref --stack mini --steps 200")
    parser.add_argument(
        "what", metavar="WHAT",
        help="stack: train it, resuming from checkpoints; card: measure the trained weights and write the model card; "
        "or the name of a method with a recipe: train its weights on the stack",
    )  # fmt: skip
    add_stack_options(parser, dtype=False)
    parser.add_argument(
        "--warm", action="store_true",
        help="start the generator from the existing weights and only run its last stage, which aligns attention",
    )  # fmt: skip
    parser.add_argument(
        "--only", action="append", default=[], metavar="PART",
        help="train only this part of the stack: detector, segmenter, dino, clip, generator or vae; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--preset", default="", help="train the weights of this preset of the method instead of its default weights"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the method; repeatable"
    )
    parser.add_argument(
        "--suite", default="", help="train on the images of this suite (default: images of the miniature world)"
    )
    parser.add_argument(
        "--images", "--pictures", dest="images", type=Path, default=None, metavar="FOLDER",
        help="folder of the suite's images; --pictures is the old name",
    )  # fmt: skip
    parser.add_argument("--batch", type=int, default=None, metavar="N", help="images per batch (default: the recipe's)")
    parser.add_argument(
        "--accumulate", type=int, default=1, metavar="N", help="batches whose gradients make one step (default: 1)"
    )
    parser.add_argument("--steps", type=int, default=None, metavar="N", help="steps in total (default: the recipe's)")
    add_device_option(parser)
    parser.add_argument(
        "--checkpoint-every", type=int, default=250, metavar="N", help="steps between checkpoints (default: 250)"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("build/training"), metavar="FOLDER", help="folder of renders and checkpoints"
    )
    parser.add_argument(
        "--out", type=Path, default=None, metavar="FOLDER",
        help="folder of the weights (default: that of the stack or method itself)",
    )  # fmt: skip
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor on all step counts, for a quick trial (default: 1)"
    )


def _train(options: argparse.Namespace) -> int:
    registry = make_registry(options)
    trainable = [name for name, entry in registry.methods().items() if (entry.folder / "train.py").is_file()]
    targets = ["stack", "card", *trainable]
    if options.what not in targets:
        raise unknown_name_error("recipe", options.what, targets)
    stack = registry.get_stack(options.stack)
    try:
        if options.what in trainable:
            return _train_method(stack, registry.get_method(options.what), registry, options)
        if stack.name != MINI:
            raise _no_recipe_error(f"stack {stack.name!r}", [MINI])
        world = registry.get_suite(MINI).load()
        if options.what == "card":
            return _write_card(world, stack, registry, options.out or stack.folder, options.work)
        from layoutmark.training.stack import PARTS, train_stack

        for part in options.only:
            if part not in PARTS:
                raise unknown_name_error("part of a stack", part, PARTS)
        train_stack(
            world, options.work, options.out or stack.folder, scale=options.scale, warm=options.warm,
            parts=options.only or PARTS,
        )  # fmt: skip
        return 0
    except ModuleNotFoundError as error:
        raise MissingPackageError.of("training", str(error.name), "mini") from error


def _no_recipe_error(what: str, stacks: Iterable[str]) -> LayoutmarkError:
    return LayoutmarkError(
        what,
        found="no recipe for it",
        expected="a stack with a recipe: " + ", ".join(stacks),
        do="Give one of these as --stack.",
    )


def _train_method(stack: StackEntry, method: MethodEntry, registry: Registry, options: argparse.Namespace) -> int:
    """Train a method's weights for a stack and write them into the method's folder `weights`."""
    recipe = method.load_recipe()
    arguments = _recipe_arguments(recipe, stack, method, options)
    from layoutmark.generate.generation import generator_folder, load_generator
    from layoutmark.training.distributed import join_process_group
    from layoutmark.training.method import train_method

    group = join_process_group()
    generator = load_generator(stack, group.device or options.device)
    images = _training_images(generator, stack, registry, options)
    label = "-".join([stack.name, *options.preset.split("_")] if options.preset else [stack.name])
    out = (options.out or method.folder / "weights") / f"{label}.safetensors"
    unet_file = min((generator_folder(stack) / "unet").glob("*.safetensors"))
    facts = train_method(
        f"{method.name}-{label}", recipe.recipe(generator, images, **arguments), options.work, out, scale=options.scale,
        generator_digest=digest_file(unet_file), accumulate=options.accumulate, group=group,
        checkpoint_every=options.checkpoint_every,
    )  # fmt: skip
    if group.rank == 0:
        print(f"{facts['steps']} steps in {facts['seconds']} s; the weights are in {out}")
    return 0


def _recipe_arguments(
    recipe: ModuleType, stack: StackEntry, method: MethodEntry, options: argparse.Namespace
) -> dict[str, Any]:
    """Keyword arguments of the recipe (see `layoutmark.diffusion.recipe.Recipe`)."""
    stacks: Mapping[str, Mapping[str, Any]] = getattr(recipe, "STACKS", {MINI: {}})
    presets: Mapping[str, Mapping[str, Any]] = getattr(recipe, "PRESETS", {})
    if stack.name not in stacks:
        raise _no_recipe_error(f"method {method.name!r} on stack {stack.name!r}", stacks)
    if options.preset and options.preset not in presets:
        raise unknown_name_error(f"preset with its own weights of method {method.name!r}", options.preset, presets)
    settings = resolve_settings(method.card, stack.name, options.preset, parse_overrides(options.set))
    overrides = {
        key: value for key, value in (("batch", options.batch), ("steps", options.steps)) if value is not None
    }  # fmt: skip
    _check_overrides(overrides, stacks[stack.name], options)
    recipe_settings = {key: settings[key] for key in getattr(recipe, "SETTINGS", ())}
    return {**stacks[stack.name], **recipe_settings, **presets.get(options.preset, {}), **overrides}


def _check_overrides(
    overrides: Mapping[str, int], adjustable: Mapping[str, Any], options: argparse.Namespace
) -> None:  # fmt: skip
    fixed = overrides.keys() - adjustable.keys()
    counts = {**overrides, "accumulate": options.accumulate, "checkpoint-every": options.checkpoint_every}
    for key, value in counts.items():
        if value < 1 or key in fixed:
            raise LayoutmarkError(
                f"--{key}", found=str(value), expected="the recipe's own value" if key in fixed else "at least 1",
                do="Leave it out.",
            )  # fmt: skip


def _training_images(generator: Any, stack: StackEntry, registry: Registry, options: argparse.Namespace) -> Any:
    """Images of the requested suite, else renders of the miniature world, which only suit the miniature stack."""
    from layoutmark.training.data import TRAIN_SEED, render_images
    from layoutmark.training.stack import IMAGE_SIDE, RENDER_COUNT
    from layoutmark.training.suite_images import load_suite_images

    if options.suite:
        suite = open_suite(registry, options.suite, stack, None)
        side = generator.latent_shape[1] * generator.pixels_per_cell
        images, missing_count = load_suite_images(suite, options.images, side)
        omitted = f", {missing_count:,} samples without" if missing_count else ""
        print(f"{len(images.annotations):,} images of {suite.name}{omitted}")
        return images
    if stack.name != MINI:
        raise LayoutmarkError(
            f"training on stack {stack.name!r}", found="no images", expected="a suite with images",
            do="Give --suite NAME, and --images FOLDER if the suite has none of its own.",
        )  # fmt: skip
    return render_images(registry.get_suite(MINI).load(), options.work, TRAIN_SEED, RENDER_COUNT, IMAGE_SIDE)


def _write_card(world: Any, stack: StackEntry, registry: Registry, folder: Path, work: Path) -> int:
    """Measure the weights and write the model card; a figure below its threshold is reported, not an error."""
    from layoutmark.training.card import measure_card
    from layoutmark.training.card_page import read_training_record, write_card

    read_training_record(folder)  # fails before the long measurement
    data = write_card(stack.card, folder, measure_card(world, stack, registry, folder, work))
    rows = [
        (f["name"], f"{f['value']:.4f}", f"{f['least']:.2f}", str(f["n"]), "holds" if f["holds"] else "does not hold")
        for f in data["figures"]
    ]
    print_rows(("figure", "value", "at least", "n", "verdict"), rows)
    missed = sum(not figure["holds"] for figure in data["figures"])
    print(f"{len(rows) - missed} of {len(rows)} thresholds are met; the card is in {folder}")
    return 0
