"""A suite by its name: shipped or built, whole or as a stack can draw it."""

from __future__ import annotations

from pathlib import Path

from layoutmark.door import Suite
from layoutmark.shelf import Shelf, StackEntry
from layoutmark.shelf.kinds import Source
from layoutmark.store import home
from layoutmark.suites.aspect import squared
from layoutmark.suites.built import FileSuite, load_built_suite
from layoutmark.suites.narrowed import restricted


def open_suite(shelf: Shelf, name: str, stack: StackEntry, limit: int | None) -> Suite:
    """A shipped or a built suite, narrowed to the stack's vocabulary, its layouts square as its card declares.

    What was left out and what was done stands in its notes.
    """
    whole = whole_suite(shelf, name)
    aspect = whole.aspect if isinstance(whole, FileSuite) else shelf.get_suite(name).suite.aspect
    return squared(restricted(whole, stack.card.categories or None, limit), aspect)


def whole_suite(shelf: Shelf, name: str) -> Suite:
    """A shipped or a built suite with all its samples."""
    entry = shelf.get_suite(name)
    if entry.suite.source is Source.SHIPPED:
        shipped: Suite = entry.load().open_suite(name)
        return shipped
    return load_built_suite(built_folder(name))


def built_folder(name: str) -> Path:
    """Where `layoutmark suites build` keeps a suite."""
    return home() / "suites" / name
