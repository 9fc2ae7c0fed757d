"""Find methods, suites, stacks and reports by name, read and check their cards, and load their code on use."""

from layoutmark.registry.card_reader import read_card
from layoutmark.registry.card_types import Dtype, MethodCard, ReportCard, StackCard, SuiteCard
from layoutmark.registry.entries import MethodEntry, ReportEntry, StackEntry, SuiteEntry
from layoutmark.registry.registry import BrokenCard, Registry
from layoutmark.registry.settings import parse_overrides, resolve_settings

__all__ = [
    "BrokenCard",
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
