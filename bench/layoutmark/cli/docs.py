"""Write docs/cli.md from the parser itself: `python -m layoutmark.cli.docs [--check]`."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from layoutmark.atomic import write_text
from layoutmark.cli.commands import build_parser
from layoutmark.cli.parser import Parser

PAGE = Path("docs/cli.md")
HEAD = """# Commands

Generated from the commands' own help by `make docs`. `layoutmark completion bash` (or `zsh`, `fish`) prints a script
with which the shell completes them.

Every command also has:

"""
HIDDEN_ACTIONS = (argparse._HelpAction, argparse._SubParsersAction, argparse._VersionAction)
SHARED_OPTIONS = ("--debug", "--offline", "--methods-path")
"""Options of every command, listed once."""


def reference() -> str:
    """The whole page as Markdown."""
    first, *_ = (parser for parser in build_parser().walk() if _arguments(parser))
    items = [_item(action) for action in first._actions if _is_shared(action)]
    sections = [_section(parser) for parser in build_parser().walk() if parser.prog != "layoutmark"]
    return "".join([HEAD, *items, *sections])


def _section(parser: Parser) -> str:
    description, _, installation = (parser.description or "").partition("\n\n")
    items = [_item(action) for action in _arguments(parser) if not _is_shared(action)]
    blocks = [f"## `{parser.prog}`\n", f"{description}\n", "".join(items), _code(installation), _ending(parser)]
    return "\n" + "\n".join(block for block in blocks if block)


def _arguments(parser: Parser) -> list[argparse.Action]:
    return [action for action in parser._actions if not isinstance(action, HIDDEN_ACTIONS)]


def _is_shared(action: argparse.Action) -> bool:
    return bool(set(action.option_strings) & set(SHARED_OPTIONS))


def _item(action: argparse.Action) -> str:
    metavar = str(action.metavar or action.dest)
    names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{metavar}`"
    if action.option_strings and action.nargs != 0:
        names += f" `{metavar if action.metavar else metavar.upper()}`"
    return f"- {names}: {action.help}\n"


def _code(text: str) -> str:
    """A sentence and indented lines as a sentence and a code block."""
    sentence, _, lines = text.partition("\n")
    return f"{sentence}\n\n```sh\n{textwrap.dedent(lines)}\n```\n" if lines else ""


def _ending(parser: Parser) -> str:
    """The example and the exit codes as one line each."""
    example, _, codes = (parser.epilog or "").partition("\n\n")
    meanings = "; ".join(" ".join(line.split()) for line in codes.splitlines()[1:])
    return f"Example: `{example.splitlines()[1].strip()}`\n\nExit codes: {meanings}\n"


def main() -> int:
    """Write the page, or with `--check` return 1 if it is not up to date."""
    page = reference()
    if "--check" in sys.argv[1:]:
        is_current = PAGE.is_file() and PAGE.read_text("utf-8") == page
        print(f"{PAGE} is {'up to date' if is_current else 'out of date: run make docs'}")
        return 0 if is_current else 1
    write_text(PAGE, page)
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
