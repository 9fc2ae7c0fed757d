"""Guests speak through the door: what the files in methods/, datasets/ and reports/ may import of the harness."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("methods", "datasets", "reports")
OPEN = {"api", "ingest", "diffusion", "layout", "evidence", "score", "provenance", "errors"}


def imported(tree: ast.AST) -> Iterator[tuple[int, int, str]]:
    """(line, relative level, module) of every import, those inside functions and by `import_module("...")` too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, 0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level == 0 and module == "layoutmark":
                yield from ((node.lineno, 0, f"layoutmark.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.level, module
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                yield node.lineno, 0, str(node.args[0].value)


def trespasses(source: str, depth: int = 1) -> list[str]:
    """Imports a guest may not make.  `depth` is how many relative levels stay inside the guest's own folder."""
    bad = []
    for line, level, module in imported(ast.parse(source)):
        parts = module.split(".")
        harness = parts[0] == "layoutmark" and (len(parts) < 2 or parts[1] not in OPEN)
        neighbour = level == 0 and parts[0] in KINDS
        if harness or neighbour or level > depth:
            bad.append(f"line {line}: {'.' * level}{module}")
    return bad


def test_guests_import_only_the_door() -> None:
    files = [p for kind in KINDS for p in sorted((ROOT / kind).rglob("*.py"))]
    assert {p.relative_to(ROOT).parts[0] for p in files} == set(KINDS)
    found = {
        str(p.relative_to(ROOT)): bad
        for p in files
        if (bad := trespasses(p.read_text("utf-8"), depth=len(p.relative_to(ROOT).parts) - 2))
    }
    assert found == {}


@pytest.mark.parametrize(
    "snippet",
    [
        "import layoutmark",
        "import layoutmark.store",
        "from layoutmark import registry",
        "from layoutmark.metrics.boxes import miou",
        "from layoutmark.methods.base import adapter",
        "def late():\n    from layoutmark.features import clip",
        "import importlib\nimportlib.import_module('layoutmark.measure')",
        "from .. import base",
        "from ..base.adapter import build",
        "import methods.base.adapter",
        "from datasets import load_dataset",
    ],
)
def test_a_trespass_is_seen(snippet: str) -> None:
    assert len(trespasses(snippet)) == 1


def test_the_open_rooms_are_open() -> None:
    lines = (
        "import numpy",
        "from layoutmark import api",
        "from layoutmark.layout import Layout",
        "import layoutmark.diffusion.tokens",
        "from .draw import Draw",
        "from . import world",
    )
    assert trespasses("\n".join(lines)) == []


def test_the_package_names_no_guest() -> None:
    hidden = tuple(f"layoutmark.{kind}" for kind in KINDS)
    found = {
        f"{p.relative_to(ROOT)} line {line}": module
        for p in sorted((ROOT / "bench").rglob("*.py"))
        for line, level, module in imported(ast.parse(p.read_text("utf-8")))
        if level == 0 and (module.split(".")[0] in KINDS or module.startswith(hidden))
    }
    assert found == {}
