"""Docstring examples: all public functions and metrics have one, and all examples give the value they state."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

import layoutmark

PACKAGE = Path(layoutmark.__file__).parent
ROOT = Path(__file__).parents[2]
PLUGIN_KINDS = ("datasets", "methods", "reports")
DOCUMENTED_PACKAGES = ("compare", "metrics", "statistics")
METRIC_METHODS = {"outcomes", "summarise"}


def public_definitions(source: str) -> list[ast.FunctionDef | ast.ClassDef]:
    """Public functions of a module, and public classes that implement a metric."""
    definitions: list[ast.FunctionDef | ast.ClassDef] = []
    for node in ast.parse(source).body:
        is_metric = isinstance(node, ast.ClassDef) and METRIC_METHODS & {
            member.name for member in node.body if isinstance(member, ast.FunctionDef)
        }
        if (isinstance(node, ast.FunctionDef) or is_metric) and not node.name.startswith("_"):
            definitions.append(node)
    return definitions


def without_example(source: str) -> list[str]:
    """Names of the public definitions whose docstring has no example."""
    return [node.name for node in public_definitions(source) if ">>> " not in (ast.get_docstring(node) or "")]


def module_name(path: Path) -> str:
    """The name under which a file of the package or of a shipped plug-in is imported."""
    is_plugin = not path.is_relative_to(PACKAGE)
    parts = ("layoutmark", *path.relative_to(ROOT if is_plugin else PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def run_examples(name: str) -> doctest.TestResults:
    return doctest.testmod(importlib.import_module(name))


DOCUMENTED = [path for package in DOCUMENTED_PACKAGES for path in sorted((PACKAGE / package).glob("*.py"))]
FOLDERS = [PACKAGE, *(ROOT / kind for kind in PLUGIN_KINDS)]
WITH_EXAMPLES = [
    path for folder in FOLDERS for path in sorted(folder.rglob("*.py")) if ">>> " in path.read_text("utf-8")
]


@pytest.mark.parametrize("path", DOCUMENTED, ids=module_name)
def test_public_functions_and_metrics_have_an_example(path: Path) -> None:
    assert without_example(path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=module_name)
def test_examples_give_their_value(path: Path) -> None:
    results = run_examples(module_name(path))
    assert results.attempted > 0
    assert results.failed == 0, "see the captured output"


def test_a_missing_example_is_noticed() -> None:
    source = '''
def documented():
    """Return 1.

    >>> documented()
    1
    """

def undocumented():
    """Return 2."""

def _private():
    """Return 3."""

class NewMetric:
    """A metric."""

    def outcomes(self, evidence):
        """Return nothing."""
'''
    assert without_example(source) == ["undocumented", "NewMetric"]


def test_a_wrong_value_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrong_example.py").write_text('"""An example.\n\n>>> 1 + 1\n3\n"""\n', "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run_examples("wrong_example").failed == 1
