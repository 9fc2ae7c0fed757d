"""The documents are correct: the command reference is current, and commands, targets and files they name exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "cli.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
MAIN_COMMANDS = ("run", "generate", "measure", "report", "compare", "gate", "methods", "suites", "stacks")
CALL = "import sys; from layoutmark.cli.main import main; sys.exit(main(sys.argv[1:]))"


def layoutmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a fresh process."""
    env = {**os.environ, "COLUMNS": "200"}  # wide enough for a sentence to stay on one line
    return subprocess.run([sys.executable, "-c", CALL, *arguments], cwd=ROOT, env=env, capture_output=True, text=True)


def commands() -> list[str]:
    """Return all commands of the reference, with their subcommands (`suites build`)."""
    return re.findall(r"^#+ `?layoutmark ([a-z -]+?)`?$", REFERENCE.read_text("utf-8"), re.MULTILINE)


def test_reference_is_up_to_date() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "layoutmark.cli.docs", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert process.returncode == 0, f"run: make docs\n{process.stdout}{process.stderr}"


def test_main_commands_are_in_the_reference() -> None:
    assert [c for c in MAIN_COMMANDS if c not in {x.split()[0] for x in commands()}] == []


def test_every_command_has_help() -> None:
    main_help = layoutmark("--help")
    assert main_help.returncode == 0, main_help.stderr
    assert commands()
    for command in commands():
        assert command.split()[0] in main_help.stdout
        command_help = layoutmark(*command.split(), "--help")
        assert command_help.returncode == 0, command_help.stderr
        # The help needs a sentence besides the usage line.
        assert re.search(r"^[A-Z].{20,}\.$", command_help.stdout, re.MULTILINE), command


def test_documents_name_commands_that_exist() -> None:
    known = {c.split()[0] for c in commands()} | {"train"}
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        blocks = "\n".join(re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL))
        # Outside code blocks, "layoutmark compares" may be part of a sentence.
        for name in re.findall(r"^layoutmark ([a-z]+)", blocks, re.MULTILINE) + re.findall(
            r"`layoutmark ([a-z]+)", text
        ):
            assert name in known, f"{document.name}: layoutmark {name}"


def test_documents_name_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for document in DOCUMENTS:
        for name in re.findall(
            r"(?:^|`)make (?:[A-Z]+=\S+ )?([a-z][a-z-]*)", document.read_text("utf-8"), re.MULTILINE
        ):
            assert name in targets, f"{document.name}: make {name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_link_targets_exist(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def table(document: Path, method: str) -> dict[str, dict[str, str]]:
    """Return the first table of a document that has a row for `method`: cells by row name and column name."""
    plain = re.sub(r"\\(.)", r"\1", document.read_text("utf-8"))
    for block in re.findall(r"(?:^\|.*\n)+", plain, re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()]
        if method in (row[0] for row in rows):
            names = [re.sub(r".*\((.*)\)|(.*) ↑", r"\1\2", name) for name in head]
            return {row[0]: dict(zip(names[1:], row[1:], strict=True)) for row in rows}
    raise AssertionError(f"{document}: no table with {method}")


def test_first_table_of_the_readme_is_the_leaderboard() -> None:
    readme = table(ROOT / "README.md", "locref")
    board = table(ROOT / "leaderboards" / "mini-refs-mini" / "README.md", "locref")
    methods = [name for name in board if name != "ceiling" and not name.startswith("floor-")]
    assert sorted(readme) == sorted(["true images", *methods])
    for name, cells in readme.items():
        for column, cell in cells.items():
            expected = board["ceiling" if name == "true images" else name][column]
            is_same = cell == expected or (cell == "not controlled" and expected.endswith(cell))
            assert is_same, f"{name}, {column}: {expected}"


def test_documents_name_tests_that_exist() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    defined = {name for source in sources for name in re.findall(r"def (test_\w+)", source)}
    for document in DOCUMENTS:
        named = set(re.findall(r"`(test_\w+)`", document.read_text("utf-8")))
        assert named - defined == set(), document.name
