"""The argument parser: one-line errors with the nearest option, and help that ends with an example and exit codes."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

from layoutmark.errors import LayoutmarkError

Call: TypeAlias = Callable[[argparse.Namespace], int]
Subcommands: TypeAlias = "argparse._SubParsersAction[Parser]"

EXIT_CODES = {0: "done", 3: "unusable input", 70: "a fault of layoutmark", 130: "interrupted"}
"""Exit codes of every command; a command may add its own verdicts."""
EXPECTED_VALUES = {"int": "an integer", "float": "a number"}
INVALID_VALUE = re.compile(r"argument (?P<option>[^:]+): invalid (?P<kind>\w+) value: (?P<value>.+)")
NEGATIVE_NUMBER = re.compile(r"-(\d+|\d*\.\d+)")


class HelpFormatter(argparse.HelpFormatter):
    """Keeps the line breaks of epilogs and wraps everything else."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class UsageError(LayoutmarkError):
    """An error in the command line, printed as a plain sentence; its four parts are as in any LayoutmarkError."""

    def __str__(self) -> str:
        return f"{self.found[:1].upper()}{self.found[1:]}. {self.do}"


class Parser(argparse.ArgumentParser):
    """argparse that raises LayoutmarkError instead of printing the usage and exiting with 2."""

    def __init__(self, **settings: object) -> None:
        super().__init__(formatter_class=HelpFormatter, **settings)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Raise a LayoutmarkError for argparse's `message`."""
        if "invalid choice: " in message:
            raise self._invalid_choice(message)
        if match := INVALID_VALUE.fullmatch(message):
            raise LayoutmarkError(
                f"{self.prog} {match['option']}",
                found=match["value"],
                expected=EXPECTED_VALUES.get(match["kind"], "a valid value"),
                do=self.see_help(),
            )
        problem = message.replace("the following arguments are required", "missing arguments")
        raise UsageError(self.prog, found=problem, expected="the arguments in its help", do=self.see_help())

    def _invalid_choice(self, message: str) -> LayoutmarkError:
        value = message.split("invalid choice: ", 1)[1].split("'")[1]
        name = message.split(": ", 1)[0].removeprefix("argument ")
        action = next(a for a in self._actions if name in ("/".join(a.option_strings), a.metavar, a.dest))
        choices = [str(choice) for choice in action.choices or ()]
        close = difflib.get_close_matches(value, choices, n=1)
        if not isinstance(action, argparse._SubParsersAction):
            what = f"{self.prog} {action.option_strings[-1] if action.option_strings else name}"
        else:
            what = "unknown command" if self.prog == "layoutmark" else f"unknown command of `{self.prog}`"
        return LayoutmarkError(
            what,
            found=repr(value),
            expected="one of " + ", ".join(choices),
            do=f"Did you mean {close[0]!r}?" if close else self.see_help(),
        )

    def check_options(self, arguments: Sequence[str]) -> None:
        """Raise UsageError for an unknown option of this command or of the subcommand that `arguments` choose.

        argparse itself would report the option last, after missing arguments, and on the outermost command.
        """
        known = [option for action in self._actions for option in action.option_strings]
        subcommands = self.subcommands()
        remaining = iter(arguments)
        for argument in remaining:
            option, equals, _ = argument.partition("=")
            if argument == "--":
                return
            if not _looks_like_option(argument):
                if not subcommands:
                    continue
                if argument in subcommands:
                    subcommands[argument].check_options(list(remaining))
                return
            # An option may be abbreviated.
            matches = [option] if option in known else [name for name in known if name.startswith(option)]
            if not matches:
                raise self._unknown_option(option, known)
            if not equals and self._option_string_actions[matches[0]].nargs != 0:
                next(remaining, None)

    def subcommands(self) -> Mapping[str, Parser]:
        """Parsers of the subcommands by name; empty if there are none."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return action.choices
        return {}

    def walk(self) -> Iterator[Parser]:
        """This parser and those of all subcommands below it, depth first."""
        yield self
        for parser in self.subcommands().values():
            yield from parser.walk()

    def see_help(self) -> str:
        """The sentence that names the help page of this command."""
        return f"See `{self.prog} --help`."

    def _unknown_option(self, option: str, known: Sequence[str]) -> UsageError:
        close = difflib.get_close_matches(option, known, n=1)
        suggestion = f"Did you mean `{close[0]}`? " if close else ""
        return UsageError(
            self.prog,
            found=f"unknown option `{option}`",
            expected="one of " + ", ".join(known),
            do=suggestion + self.see_help(),
        )


def set_up(
    parser: Parser, call: Call, *, example: str, exit_codes: Mapping[int, str] | None = None, as_json: bool = False
) -> None:
    """Add the options that every command has, and end its help with an example and its exit codes.

    Args:
        parser: The parser of the command.
        call: Runs the command; takes the parsed options and returns the exit code.
        example: The arguments of a typical call, without the word ``layoutmark``.
        exit_codes: Meaning of the exit codes that differ from `EXIT_CODES`.
        as_json: Whether the command has ``--json``.
    """
    parser.set_defaults(call=call, parser=parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("--offline", action="store_true", help="fetch nothing from the network")
    parser.add_argument(
        "--methods-path", action="append", default=[], type=Path, metavar="FOLDER",
        help="look for plug-ins in this folder too; repeatable",
    )  # fmt: skip
    if as_json:
        parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.epilog = help_ending(example, exit_codes)


def help_ending(example: str, exit_codes: Mapping[int, str] | None = None) -> str:
    """The end of a help page: an example and the exit codes, with meanings that differ from `EXIT_CODES`."""
    meanings = {**EXIT_CODES, **(exit_codes or {})}
    codes = "\n".join(f"  {code}  {meanings[code]}" for code in sorted(meanings))
    return f"example:\n  layoutmark {example}\n\nexit codes:\n{codes}"


def add_verbs(parser: Parser, *, example: str) -> Subcommands:
    """Let a command have subcommands, and return the object that `add_verb` adds them to.

    Without a subcommand, the command prints its help.
    """
    parser.set_defaults(call=print_help, parser=parser)
    parser.epilog = help_ending(example)
    return parser.add_subparsers(metavar="COMMAND", title="commands")


def add_verb(
    verbs: Subcommands, name: str, summary: str, call: Call, *,
    example: str, exit_codes: Mapping[int, str] | None = None, as_json: bool = False,
) -> Parser:  # fmt: skip
    """Add a subcommand; `summary` is one sentence and the other arguments are those of `set_up`."""
    parser = verbs.add_parser(name, help=summary, description=summary)
    set_up(parser, call, example=example, exit_codes=exit_codes, as_json=as_json)
    return parser


def print_help(options: argparse.Namespace) -> int:
    """Print the help of the command that was called without a subcommand."""
    options.parser.print_help()
    return 0


def _looks_like_option(argument: str) -> bool:
    # As in argparse: arguments with a space are values, and so are negative numbers.
    return (
        argument.startswith("-") and len(argument) > 1 and " " not in argument
        and not NEGATIVE_NUMBER.fullmatch(argument)
    )  # fmt: skip
