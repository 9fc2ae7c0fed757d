"""The table of commands.  Only the module of the command that is called gets imported, so that the start stays fast."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import NamedTuple

from layoutmark import __version__
from layoutmark.cli.parser import Parser, help_ending, print_help

DESCRIPTION = "Benchmark text-to-image methods that control the layout and the look of objects."
EXIT_CODES = {1: "see the help of the command", 2: "see the help of the command"}


class Command(NamedTuple):
    """A command of the first level."""

    configure: str
    """``module:function``; the function adds the arguments to the command's parser."""
    summary: str
    """One sentence for the list of commands and the command's own help."""


COMMANDS: Mapping[str, Command] = {
    "run": Command(
        "run:configure",
        "Generate, measure and report a suite (default: mini, with all methods that fit).",
    ),
    "generate": Command("generate:configure", "Generate the images of a run, without measuring them."),
    "measure": Command("measure:configure", "Score the images of a run; stored features are reused."),
    "report": Command("report:configure", "Write the report of a measured run."),
    "compare": Command(
        "compare:configure", "Compare rows of runs: paired differences, intervals, Holm, tie groups, Pareto set."
    ),
    "gate": Command("gate:configure", "Decide whether a run may replace its baseline."),
    "plan": Command("plan:configure", "Estimate how many prompts and seeds a comparison needs, from a pilot run."),
    "score": Command("score:configure", "Score external images: a folder with one SAMPLE_ID.png per sample."),
    "metrics": Command("metrics:configure", "Score detection files without any images."),
    "methods": Command("methods:configure", "List the methods that can be used, show one or check one."),
    "suites": Command("suites:configure", "List, show, build, compare and export suites."),
    "stacks": Command("plugins:configure_stacks", "List the stacks that can be used, or show one."),
    "reports": Command("plugins:configure_reports", "List the reports that can be used, or show one."),
    "train": Command("train:configure", "Train a stack or a method by its recipe, or measure a stack's model card."),
    "personalise": Command(
        "personalise:configure", "Train weights for every subject of a suite; resumes where it stopped."
    ),
    "leaderboard": Command("leaderboard:configure", "Submit runs to leaderboards, build and check them."),
    "doctor": Command("doctor:configure", "Check a suite, a stack and its scorers for silent errors."),
    "completion": Command("completion:configure", "Print a completion script for bash, zsh or fish."),
}


def build_parser(command: str | None = None) -> Parser:
    """The parser of ``layoutmark``, with the arguments of `command` only, or of all commands if it is None.

    The other commands are known by name and summary, which is enough for help and error messages.
    """
    parser = Parser(prog="layoutmark", description=DESCRIPTION, epilog=help_ending("run", EXIT_CODES))
    parser.set_defaults(call=print_help, parser=parser, offline=False)
    parser.add_argument("--version", action="version", version=f"layoutmark {__version__}")
    subcommands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for name, (target, summary) in COMMANDS.items():
        subparser = subcommands.add_parser(name, help=summary, description=summary)
        if command in (name, None):
            module, _, function = target.partition(":")
            getattr(importlib.import_module(f"layoutmark.cli.{module}"), function)(subparser)
    return parser
