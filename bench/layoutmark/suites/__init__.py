"""Suites as data: built ones on disk, narrowed ones, exports, contact sheets, differences between versions."""

from __future__ import annotations

from layoutmark.suites.built import META, FileSuite, load_built_suite, save_built_suite
from layoutmark.suites.difference import Difference, difference
from layoutmark.suites.export import FORMS, export
from layoutmark.suites.narrowed import NarrowedSuite, restricted, within_vocabulary

__all__ = [
    "FORMS", "META", "Difference", "FileSuite", "NarrowedSuite", "difference", "export", "load_built_suite",
    "restricted", "save_built_suite", "within_vocabulary",
]  # fmt: skip
