"""Cards and folders of methods, suites, stacks and reports: read, checked, found by name, loaded when used."""

from layoutmark.registry.card_reader import read_card
from layoutmark.registry.card_types import Dtype, MethodCard, ReportCard, StackCard, SuiteCard
from layoutmark.registry.entries import MethodEntry, ReportEntry, StackEntry, SuiteEntry
from layoutmark.registry.registry import Broken, Registry
from layoutmark.registry.settings import parse_overrides, resolve_settings

__all__ = [
    "Broken",
    "Dtype",
    "MethodCard",
    "MethodEntry",
    "Registry",
    "ReportCard",
    "ReportEntry",
    "StackCard",
    "StackEntry",
    "SuiteCard",
    "SuiteEntry",
    "parse_overrides",
    "read_card",
    "resolve_settings",
]
