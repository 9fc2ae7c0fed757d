"""Examples in docstrings give the values that they show."""

from __future__ import annotations

import doctest
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
DOCUMENTED_MODULES = (
    "layoutmark.compare", "layoutmark.errors", "layoutmark.layout", "layoutmark.metrics", "layoutmark.plurals",
    "layoutmark.provenance", "layoutmark.registry", "layoutmark.score", "layoutmark.statistics",
)  # fmt: skip
"""Modules in which every public function needs an example."""
TOO_COMPLEX = {"digest_file", "digest_files", "digest_code", "package_versions"}


def module_names() -> list[str]:
    """Return the modules of the package that contain an example."""
    paths = [p for p in sorted((BENCH / "layoutmark").rglob("*.py")) if ">>> " in p.read_text("utf-8")]
    return [".".join(p.relative_to(BENCH).with_suffix("").parts).removesuffix(".__init__") for p in paths]


@pytest.mark.parametrize("name", module_names())
def test_docstring_examples_pass(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert result.failed == 0


def public_functions(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Yield name and docstring of the functions that a module offers."""
    for name in getattr(module, "__all__", vars(module)):
        member = getattr(module, name)
        is_own = getattr(member, "__module__", "").startswith(module.__name__)
        if inspect.isfunction(member) and is_own and not name.startswith("_"):
            yield name, member.__doc__ or ""


@pytest.mark.parametrize("name", DOCUMENTED_MODULES)
def test_public_functions_have_examples(name: str) -> None:
    functions = dict(public_functions(importlib.import_module(name)))
    assert functions
    assert [f for f, docstring in functions.items() if ">>> " not in docstring and f not in TOO_COMPLEX] == []
