"""`layoutmark personalise`: weights for every subject of a suite, for methods that need a personalised model."""

from __future__ import annotations

import argparse
from functools import partial

from layoutmark.cli.options import add_device_option, add_limit_option, add_stack_options, make_registry
from layoutmark.cli.parser import Parser, set_up
from layoutmark.cli.progress import ProgressBars
from layoutmark.errors import LayoutmarkError
from layoutmark.registry import MethodEntry, Registry
from layoutmark.suites.opening import open_suite

RECIPE_FILE = "personalise.py"


def configure(parser: Parser) -> None:
    """Add the arguments."""
    set_up(parser, _personalise, example="personalise mini-refs --limit 4")
    parser.add_argument("suite", help="name of a suite with references")
    add_stack_options(parser, dtype=False)
    parser.add_argument(
        "--backend", default="dreambooth",
        help="dreambooth (low-rank weight deltas of the attention) or textual_inversion (default: dreambooth)",
    )  # fmt: skip
    parser.add_argument(
        "--method", default="", metavar="NAME",
        help="method with the recipe to use (default: the only method that has one)",
    )  # fmt: skip
    add_limit_option(parser)
    add_device_option(parser)


def _personalise(options: argparse.Namespace) -> int:
    from layoutmark.generate.generation import load_generator
    from layoutmark.training.personalise import personalise

    registry = make_registry(options)
    stack = registry.get_stack(options.stack)
    suite = open_suite(registry, options.suite, stack, options.limit)
    if not suite.references(suite.samples[0].id):
        raise LayoutmarkError(
            f"suite {options.suite!r}", found="no references", expected="a suite whose instances have reference images",
            do="See: layoutmark suites list",
        )  # fmt: skip
    recipe = _method_with_recipe(registry, options.method).load_personaliser()
    personaliser = recipe.personaliser(load_generator(stack, options.device), options.backend)
    with ProgressBars("personalise") as bars:
        count = personalise(suite, personaliser, partial(bars, options.backend))
    print(f"{count} subjects of {options.suite} have weights for {options.backend} on stack {options.stack}")
    return 0


def _method_with_recipe(registry: Registry, name: str) -> MethodEntry:
    """The named method, or the only one with a recipe; methods of one folder share its recipe."""
    methods = {key: entry for key, entry in registry.methods().items() if (entry.folder / RECIPE_FILE).is_file()}
    if not name and len({entry.folder for entry in methods.values()}) == 1:
        return next(iter(methods.values()))
    if name not in methods:
        raise LayoutmarkError(
            "option --method", found=repr(name) if name else "no name, and several methods that train subjects",
            expected="one of " + (", ".join(methods) or "(none)"), do=f"Name a method that has a {RECIPE_FILE}.",
        )  # fmt: skip
    return methods[name]
