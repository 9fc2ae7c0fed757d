"""Advice works: every command that a message or a help page names is parsed by the real parser."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from layoutmark.cli.commands import COMMANDS
from layoutmark.cli.main import parse
from layoutmark.errors import LayoutmarkError

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bench", "methods", "datasets", "reports")
PLACEHOLDER = "\0"
"""Stands for a value of an f-string."""
IN_BACKTICKS = re.compile(r"`layoutmark(?P<arguments> [^`]*)`")
IN_PROSE = re.compile(
    rf"(?:(?<=: )layoutmark(?= [a-z{PLACEHOLDER}])"
    rf"|(?<![`\w./-])layoutmark(?= (?:(?:{'|'.join(COMMANDS)})\b|{PLACEHOLDER})))"
    r"(?P<arguments> [^`\n]*)"
)
END_OF_COMMAND = re.compile(r"""[,;)]|\.(?:\s|$)|["']$|\s(?:and|or|does)\s|\s[(>]""")
NAMES = re.compile(rf"[A-Z]+(?:_[A-Z]+)*(?:\.json)?|{PLACEHOLDER}|{{\w*}}|\[[^]]*\]|\.\.\.")


def texts(tree: ast.AST) -> Iterator[tuple[int, bool, str]]:
    """(line, whether it is a docstring, text) of every string, with placeholders for values of f-strings."""
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    within = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
        if part is not node
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and id(node) not in within:
            parts = (v.value if isinstance(v, ast.Constant) else PLACEHOLDER for v in node.values)
            yield node.lineno, False, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in within:
            yield node.lineno, id(node) in docstrings, node.value


def commands(text: str, *, is_docstring: bool) -> Iterator[list[str]]:
    """Arguments of every command that a text names: in backticks, or in messages also without."""
    yield from (arguments(match["arguments"]) for match in IN_BACKTICKS.finditer(text))
    if not is_docstring:
        for match in IN_PROSE.finditer(IN_BACKTICKS.sub("", text)):
            yield arguments(END_OF_COMMAND.split(match["arguments"])[0])


def arguments(command: str) -> list[str]:
    """Words of a command; names that stand for a value become a value that suits every type."""
    try:
        words = shlex.split(command)
    except ValueError:  # an apostrophe
        words = command.split()
    return [NAMES.sub("1", word) for word in words]


def named_commands() -> dict[str, tuple[list[str], bool]]:
    collected = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for line, is_docstring, text in texts(ast.parse(path.read_text("utf-8"))):
                for number, command in enumerate(commands(text, is_docstring=is_docstring)):
                    if command != ["1"]:  # an f-string with the whole command as its value
                        collected[f"{path.relative_to(ROOT)}:{line}:{number} {' '.join(command)}"] = (
                            command,
                            is_docstring,
                        )
    return collected


NAMED = named_commands()


def problem(command: list[str]) -> str:
    try:
        parse(command)
    except LayoutmarkError as error:
        return str(error)
    except SystemExit:  # --help
        return ""
    return ""


@pytest.mark.parametrize(("command", "is_docstring"), NAMED.values(), ids=NAMED)
def test_a_named_command_can_be_parsed(command: list[str], is_docstring: bool) -> None:
    is_bare_name = is_docstring or not any(word.startswith("-") for word in command)
    assert problem(command) == "" or (is_bare_name and problem(command).startswith("Missing arguments"))


def test_many_commands_are_found() -> None:
    assert len(NAMED) > 40


@pytest.mark.parametrize(
    ("text", "commands_in_text"),
    [
        ("Run: layoutmark measure {x}".replace("{x}", PLACEHOLDER), ["measure", "1"]),
        ("See: layoutmark preset of method 'base's list", ["preset", "of", "method", "bases", "list"]),
        (f"See: layoutmark {PLACEHOLDER}s list", ["1s", "list"]),
        ("Plan it again: layoutmark run.", ["run"]),
        ("as `layoutmark compare RUN:METHOD` does", ["compare", "1:1"]),
        ("Run: layoutmark rnu mini", ["rnu", "mini"]),
        ("A layoutmark run. layoutmark is not a command here.", ["run"]),
        ("layoutmark scores images", None),
    ],
)
def test_commands_are_extracted_from_messages(text: str, commands_in_text: list[str] | None) -> None:
    assert next(commands(text, is_docstring=False), None) == commands_in_text


def test_invalid_commands_are_detected() -> None:
    assert problem(["1s", "list"])
    assert problem(["rnu", "mini"])
    assert problem(["measure", "1", "--sedes", "1"])
