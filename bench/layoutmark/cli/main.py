"""The command line: parsing, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from layoutmark import __version__
from layoutmark.cli import compare, doctor, gate, leaderboard, metrics, personalise, plan, plugins, run, score, train
from layoutmark.errors import LayoutmarkError

UNUSABLE = 3
"""Exit code for input that cannot be used."""
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """argparse that speaks in the project's form: one line, exit code 3, "did you mean"."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing usage and exiting with 2."""
        hint = f"See: {self.prog} --help"
        if "invalid choice: " in message:
            given = message.split("invalid choice: ", 1)[1].split("'")[1]
            named = [a for a in self._actions if message.split(": ")[0] == "argument " + "/".join(a.option_strings)]
            known = [str(c) for a in named or self._actions for c in a.choices or ()]
            close = difflib.get_close_matches(given, known, n=1)
            raise LayoutmarkError(
                f"{self.prog}: " + (named[0].option_strings[-1] if named else "unknown command"),
                found=repr(given),
                expected="one of " + ", ".join(known),
                do=f"Did you mean {close[0]!r}?" if close else hint,
            )
        raise LayoutmarkError(self.prog, found=message, expected="arguments as its help says", do=hint)


def parser() -> argparse.ArgumentParser:
    """The whole command as an argparse parser (the reference in docs/cli.md is made from it)."""
    top = Parser(
        prog="layoutmark",
        description="Compare text-to-image methods that are told where things go and what they look like.",
    )
    top.add_argument("--version", action="version", version=f"layoutmark {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for part in (run, compare, gate, plan, score, metrics, plugins, train, personalise, leaderboard, doctor):
        part.add(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0, 3 for unusable input, or its own.  `--debug` lets errors through."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Threads that spin while they wait for one another slow a busy machine down two- to threefold.  On a quiet one
    # drawing gains nothing from it, but training, whose operations are small, a quarter of its time.  Read when torch
    # loads, which it has not yet; an environment that says more stands.
    if given[:1] != ["train"]:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        options = parser().parse_args(given)
        if options.offline:
            os.environ["HF_HUB_OFFLINE"] = "1"
        code: int = options.call(options)
        return code
    except LayoutmarkError as error:
        if "--debug" in given:
            raise
        if "--json" in given:
            parts = {"what": error.what, "found": error.found, "expected": error.expected, "do": error.do}
            print(json.dumps({"error": parts}), file=sys.stderr)
        else:
            print("layoutmark: " + " ".join(str(error).split()), file=sys.stderr)
        return UNUSABLE
    except BrokenPipeError:
        # The reader of a pipe (head, less) has gone: nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNUSABLE
    except OSError as error:
        if "--debug" in given:
            raise
        print(f"layoutmark: {error.filename or 'files'}: found {error.strerror or error}; expected a place that can be "
              "read and written. Check it, or run again with --debug.", file=sys.stderr)  # fmt: skip
        return UNUSABLE
    except KeyboardInterrupt:
        print("layoutmark: stopped; the same command goes on where it was.", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
