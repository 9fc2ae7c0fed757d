"""Suites as data: built ones on disk, narrowed ones, exports, contact sheets, differences between versions."""

from __future__ import annotations

from layoutmark.suites.aspect import SquaredSuite, squared
from layoutmark.suites.difference import Difference, difference
from layoutmark.suites.export import FORMS, export
from layoutmark.suites.published import Comparison, compared
from layoutmark.suites.storage import META, FileSuite, load_built_suite, save_built_suite
from layoutmark.suites.subset import NarrowedSuite, restricted, within_vocabulary
from layoutmark.suites.tokens import token_strata

__all__ = [
    "FORMS", "META", "Comparison", "Difference", "FileSuite", "NarrowedSuite", "SquaredSuite", "compared",
    "difference", "export", "load_built_suite",
    "restricted", "save_built_suite", "squared", "token_strata", "within_vocabulary",
]  # fmt: skip
