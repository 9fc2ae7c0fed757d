"""Plug-ins in methods/, datasets/ and reports/ import only the parts of the package that are open to them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("methods", "datasets", "reports")
OPEN_MODULES = {
    "api", "atomic", "diffusion", "errors", "evidence", "html_templates", "ingest", "layout", "plurals", "provenance",
    "score",
}  # fmt: skip


def find_imports(tree: ast.AST) -> Iterator[tuple[int, int, str]]:
    """Yield line, relative level and module of every import, also inside functions and by `import_module("...")`."""
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
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in ("import_module", "__import__"):
                yield node.lineno, 0, str(node.args[0].value)


def forbidden_imports(source: str, depth: int = 1) -> list[str]:
    """Return the imports that a plug-in may not make.

    `depth` is the number of relative levels that stay inside the plug-in's folder.
    """
    forbidden = []
    for line, level, module in find_imports(ast.parse(source)):
        parts = module.split(".")
        is_internal = parts[0] == "layoutmark" and (len(parts) < 2 or parts[1] not in OPEN_MODULES)
        is_other_plugin = level == 0 and parts[0] in KINDS
        if is_internal or is_other_plugin or level > depth:
            forbidden.append(f"line {line}: {'.' * level}{module}")
    return forbidden


def test_plugins_import_only_open_modules() -> None:
    files = [p for kind in KINDS for p in sorted((ROOT / kind).rglob("*.py"))]
    assert {p.relative_to(ROOT).parts[0] for p in files} == set(KINDS)
    forbidden = {
        str(p.relative_to(ROOT)): imports
        for p in files
        if (imports := forbidden_imports(p.read_text("utf-8"), depth=len(p.relative_to(ROOT).parts) - 2))
    }
    assert forbidden == {}


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
def test_forbidden_import_is_detected(snippet: str) -> None:
    assert len(forbidden_imports(snippet)) == 1


def test_open_modules_may_be_imported() -> None:
    lines = (
        "import numpy",
        "from layoutmark import api",
        "from layoutmark.ingest.reading import read_json",
        "from layoutmark.atomic import write_text",
        "from layoutmark.layout import Layout",
        "import layoutmark.diffusion.tokens",
        "from .draw import Draw",
        "from . import world",
    )
    assert forbidden_imports("\n".join(lines)) == []


def test_package_imports_no_plugin() -> None:
    namespaces = tuple(f"layoutmark.{kind}" for kind in KINDS)
    imports = {
        f"{p.relative_to(ROOT)} line {line}": module
        for p in sorted((ROOT / "bench").rglob("*.py"))
        for line, level, module in find_imports(ast.parse(p.read_text("utf-8")))
        if level == 0 and (module.split(".")[0] in KINDS or module.startswith(namespaces))
    }
    assert imports == {}
