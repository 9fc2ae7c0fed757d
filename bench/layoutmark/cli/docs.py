"""Write docs/cli.md from the command itself: `python -m layoutmark.cli.docs [--check]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from layoutmark.cli.main import parser

TARGET = Path("docs/cli.md")
HEAD = """# Every command

Made from the command's own help by `make docs`.  Exit codes: 0 done, 3 unusable input (one line says why);
`layoutmark gate` adds 1 regression and 2 inconclusive.
"""


def reference() -> str:
    """The whole reference as Markdown."""
    return HEAD + "".join(_section(name, part) for name, part in _commands(parser(), "layoutmark"))


def _commands(part: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in part._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, child in action.choices.items():
                yield f"{name} {word}", child
                yield from _commands(child, f"{name} {word}")


def _section(name: str, part: argparse.ArgumentParser) -> str:
    lines = [f"\n## `{name}`\n\n{part.description}\n"]
    for action in part._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        shown = ", ".join(f"`{o}`" for o in action.option_strings) or f"`{action.metavar or action.dest}`"
        value = "" if action.nargs == 0 or not action.option_strings else f" `{action.metavar or action.dest.upper()}`"
        lines.append(f"\n- {shown}{value}: {action.help}")
    return "".join(lines) + "\n"


def main() -> int:
    """Write the file, or with `--check` return 1 if it is not what would be written."""
    text = reference()
    if "--check" in sys.argv[1:]:
        same = TARGET.is_file() and TARGET.read_text("utf-8") == text
        print(f"{TARGET} is {'in step' if same else 'stale: run make docs'}")
        return 0 if same else 1
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(text, "utf-8")
    print(TARGET)
    return 0


if __name__ == "__main__":
    sys.exit(main())
