"""Suites as data: built ones on disk, narrowed ones, exports, contact sheets, differences between versions."""

from __future__ import annotations

from layoutmark.suites.built import META, FileSuite, load_built_suite, save_built_suite
from layoutmark.suites.narrowed import NarrowedSuite, restricted, within_vocabulary

__all__ = [
    "META", "FileSuite", "NarrowedSuite", "load_built_suite", "restricted", "save_built_suite", "within_vocabulary",
]  # fmt: skip
