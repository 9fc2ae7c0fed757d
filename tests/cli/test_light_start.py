"""A command imports only what it needs, in a fresh process.  The twins show that a needless import would be noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from layoutmark.cli.commands import COMMANDS

BENCH = Path(__file__).resolve().parents[2] / "bench"
HEAVY = {"PIL", "matplotlib", "numpy", "pandas", "pyarrow", "pycocotools", "scipy", "shtab", "torch"}
CALL = """
import contextlib, io, json, sys
{extra}
from layoutmark.cli.main import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)))
"""


def imported_modules(*arguments: str, extra: str = "") -> set[str]:
    """Modules that one command has imported when it ends; `extra` is a line to run before it."""
    line = [sys.executable, "-c", CALL.format(extra=extra), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(BENCH)}
    done = subprocess.run(line, capture_output=True, text=True, check=True, env=environment)
    return set(json.loads(done.stdout))


def select_heavy(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules} & HEAVY


def test_help_imports_the_parser_and_nothing_else() -> None:
    modules = imported_modules("--help")
    assert select_heavy(modules) == set()
    assert {"rich", "pydantic"} & modules == set()
    project_modules = {module.removeprefix("layoutmark.") for module in modules if module.startswith("layoutmark.")}
    assert project_modules == {"cli", "cli.commands", "cli.main", "cli.parser", "errors"}


@pytest.mark.parametrize("arguments", [("methods", "list"), ("stacks", "show", "mini"), ("suites", "diff", "-h")])
def test_lists_need_no_heavy_package(arguments: tuple[str, ...]) -> None:
    modules = imported_modules(*arguments)
    # Cards are shown as canonical JSON, by a module that uses numpy for digests of pixels.
    allowed = {"numpy"} if "show" in arguments else set()
    assert select_heavy(modules) - allowed == set()


@pytest.mark.parametrize("command", ["methods", "gate"])
def test_the_other_commands_are_not_imported(command: str) -> None:
    modules = {
        module.rpartition(".")[2]
        for module in imported_modules(command, "--help")
        if module.startswith("layoutmark.cli.")
    }
    assert command in modules
    shared = {"plugins"} if command == "methods" else set()
    assert modules & {target.configure.partition(":")[0] for target in COMMANDS.values()} == {command} | shared


@pytest.mark.parametrize("module", ["numpy", "scipy", "matplotlib"])
def test_a_needless_import_is_noticed(module: str) -> None:
    assert module in select_heavy(imported_modules("--help", extra=f"import {module}"))
