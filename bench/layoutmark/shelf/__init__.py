"""Cards and folders of methods, suites, stacks and reports: read, checked, found by name, loaded when used."""

from layoutmark.shelf.cards import read_card
from layoutmark.shelf.entries import MethodEntry, ReportEntry, StackEntry, SuiteEntry
from layoutmark.shelf.folders import Broken, Shelf
from layoutmark.shelf.kinds import Dtype, MethodCard, ReportCard, StackCard, SuiteCard
from layoutmark.shelf.settings import parse_overrides, resolve_settings

__all__ = [
    "Broken",
    "Dtype",
    "MethodCard",
    "MethodEntry",
    "ReportCard",
    "ReportEntry",
    "Shelf",
    "StackCard",
    "StackEntry",
    "SuiteCard",
    "SuiteEntry",
    "parse_overrides",
    "read_card",
    "resolve_settings",
]
