"""The documents cannot lie: each command is in them as it is; commands, targets and files they name exist."""

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
PROMISED = ("run", "generate", "measure", "report", "compare", "gate", "methods", "suites", "stacks")
CALL = "import sys; from layoutmark.cli.main import main; sys.exit(main(sys.argv[1:]))"


def layoutmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, in a fresh process."""
    wide = {**os.environ, "COLUMNS": "200"}  # a sentence stays on its line
    return subprocess.run([sys.executable, "-c", CALL, *arguments], cwd=ROOT, env=wide, capture_output=True, text=True)


def commands() -> list[str]:
    """Every command that stands in the reference, sub-commands too (`suites build`)."""
    return re.findall(r"^#+ `?layoutmark ([a-z -]+?)`?$", REFERENCE.read_text("utf-8"), re.MULTILINE)


def test_the_reference_is_in_step() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "layoutmark.cli.docs", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, f"run: make docs\n{done.stdout}{done.stderr}"


def test_every_promised_command_is_in_the_reference() -> None:
    assert [c for c in PROMISED if c not in {x.split()[0] for x in commands()}] == []


def test_every_command_has_help() -> None:
    main = layoutmark("--help")
    assert main.returncode == 0, main.stderr
    listed = commands()
    assert listed
    for command in listed:
        assert command.split()[0] in main.stdout
        helped = layoutmark(*command.split(), "--help")
        assert helped.returncode == 0, helped.stderr
        # A usage line alone is no help: there is a sentence, and each option is explained.
        assert re.search(r"^[A-Z].{20,}\.$", helped.stdout, re.MULTILINE), command


def test_documents_name_commands_that_exist() -> None:
    known = {c.split()[0] for c in commands()} | {"train"}
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        blocks = "\n".join(re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL))
        # Outside code, "layoutmark compares" is a sentence.
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
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def table(document: Path, method: str) -> dict[str, dict[str, str]]:
    """The first table of a document whose first rows hold a method: cells by the row's name and the column's word."""
    plain = re.sub(r"\\(.)", r"\1", document.read_text("utf-8"))
    for block in re.findall(r"(?:^\|.*\n)+", plain, re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()]
        if method in (row[0] for row in rows):
            names = [re.sub(r".*\((.*)\)|(.*) ↑", r"\1\2", name) for name in head]
            return {row[0]: dict(zip(names[1:], row[1:], strict=True)) for row in rows}
    raise AssertionError(f"{document}: no table with {method}")


def test_the_first_table_is_the_boards() -> None:
    shown = table(ROOT / "README.md", "locref")
    board = table(ROOT / "leaderboards" / "mini-refs-mini" / "README.md", "locref")
    ranked = [name for name in board if name != "ceiling" and not name.startswith("floor-")]
    assert sorted(shown) == sorted(["true images", *ranked])
    for name, cells in shown.items():
        for column, cell in cells.items():
            there = board["ceiling" if name == "true images" else name][column]
            assert cell == there or (cell == "not controlled" and there.endswith(cell)), f"{name}, {column}: {there}"
