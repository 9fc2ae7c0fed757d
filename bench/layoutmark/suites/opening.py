"""A suite by its name: shipped or built, whole or as a stack can draw it."""

from __future__ import annotations

from pathlib import Path

from layoutmark.api import Suite
from layoutmark.registry import Registry, StackEntry
from layoutmark.registry.card_types import Source
from layoutmark.store import folders as home
from layoutmark.suites.aspect import squared
from layoutmark.suites.storage import FileSuite, load_built_suite
from layoutmark.suites.subset import restricted


def open_suite(registry: Registry, name: str, stack: StackEntry, limit: int | None) -> Suite:
    """A shipped or a built suite, narrowed to the stack's vocabulary, its layouts square as its card declares.

    What was left out and what was done stands in its notes.
    """
    whole = whole_suite(registry, name)
    aspect = whole.aspect if isinstance(whole, FileSuite) else registry.get_suite(name).suite.aspect
    return squared(restricted(whole, stack.card.categories or None, limit), aspect)


def whole_suite(registry: Registry, name: str) -> Suite:
    """A shipped or a built suite with all its samples."""
    entry = registry.get_suite(name)
    if entry.suite.source is Source.SHIPPED:
        shipped: Suite = entry.load().open_suite(name)
        return shipped
    return load_built_suite(built_folder(name))


def built_folder(name: str) -> Path:
    """Where `layoutmark suites build` keeps a suite."""
    return home() / "suites" / name
