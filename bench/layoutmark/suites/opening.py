"""Suites opened by name: complete, or as a stack can draw them."""

from __future__ import annotations

from pathlib import Path

from layoutmark.api import Suite
from layoutmark.registry import Registry, StackEntry
from layoutmark.registry.card_types import Source
from layoutmark.store import home_folder
from layoutmark.suites.aspect import make_square
from layoutmark.suites.file_suite import FileSuite
from layoutmark.suites.storage import load_built_suite
from layoutmark.suites.subset import restrict


def open_suite(registry: Registry, name: str, stack: StackEntry, limit: int | None) -> Suite:
    """Open a shipped or built suite for a stack, with at most `limit` samples.

    Samples outside the stack's vocabulary are left out, and layouts are made square as the suite's card declares.  The
    suite's notes say what was changed.
    """
    suite = open_full_suite(registry, name)
    aspect = suite.aspect if isinstance(suite, FileSuite) else registry.get_suite(name).suite.aspect
    return make_square(restrict(suite, stack.card.categories or None, limit), aspect)


def open_full_suite(registry: Registry, name: str) -> Suite:
    """Open a shipped or built suite with all its samples and its own canvases."""
    entry = registry.get_suite(name)
    if entry.suite.source is Source.SHIPPED:
        shipped: Suite = entry.load().open_suite(name)
        return shipped
    return load_built_suite(built_suite_folder(name))


def built_suite_folder(name: str) -> Path:
    """The folder to which `layoutmark suites build NAME` writes by default."""
    return home_folder() / "suites" / name
