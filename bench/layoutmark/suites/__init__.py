"""Suites: built ones on disk, subsets, square layouts, exports, contact sheets, comparisons between versions."""

from __future__ import annotations

from layoutmark.suites.aspect import SquaredSuite, make_square
from layoutmark.suites.difference import SuiteDifference, diff_suites
from layoutmark.suites.export import EXPORT_FORMATS, export_suite
from layoutmark.suites.file_suite import FileSuite
from layoutmark.suites.published import PublishedComparison, compare_with_published
from layoutmark.suites.storage import META_FILE, load_built_suite, save_built_suite
from layoutmark.suites.subset import SuiteSubset, restrict, split_by_vocabulary
from layoutmark.suites.tokens import token_strata

__all__ = [
    "EXPORT_FORMATS", "META_FILE", "FileSuite", "PublishedComparison", "SquaredSuite", "SuiteDifference", "SuiteSubset",
    "compare_with_published", "diff_suites", "export_suite", "load_built_suite", "make_square", "restrict",
    "save_built_suite", "split_by_vocabulary", "token_strata",
]  # fmt: skip
