"""`layoutmark suites build`: build a suite from the user's files."""

from __future__ import annotations

import argparse
from dataclasses import replace

from layoutmark.cli.options import make_registry
from layoutmark.cli.progress import RecordCounter
from layoutmark.errors import LayoutmarkError
from layoutmark.ingest.ledger import watch_records
from layoutmark.registry import SuiteEntry
from layoutmark.registry.card_types import Source
from layoutmark.suites import compare_with_published, load_built_suite, save_built_suite
from layoutmark.suites.opening import built_suite_folder


def build_suite(options: argparse.Namespace) -> int:
    """Build the suite, compare it with the published one if there is one, and write it."""
    entry = make_registry(options).get_suite(options.name)
    _check_source(entry, options)
    with RecordCounter() as counter, watch_records(counter):
        built = entry.load().build_suite(options.name, options.source)
    comparison = compare_with_published(built, entry.suite, entry.folder)
    if options.published and (comparison is None or not comparison.matches):
        raise LayoutmarkError(
            f"suite {options.name}",
            found="nothing published" if comparison is None else comparison.note(),
            expected="the published suite",
            do="Leave out --published to build it anyway.",
        )
    if comparison is not None:
        notes = (comparison.note(), *built.notes)
        built = replace(built, notes=notes, records=(*built.records, *comparison.ledger_entries()))
    folder = save_built_suite(built, entry.suite, options.out or built_suite_folder(options.name))
    suite = load_built_suite(folder)
    for outcome, count in built.counts.items():
        print(f"{outcome}: {count:,}")
    if comparison is not None:
        print(comparison.note())
    print(f"{len(suite.samples):,} samples, sha256 {suite.digest[:16]}, in {folder}")
    return 0


def _check_source(entry: SuiteEntry, options: argparse.Namespace) -> None:
    if entry.suite.source is Source.SHIPPED:
        raise LayoutmarkError(
            f"suite {options.name!r}",
            found="a suite that ships with layoutmark",
            expected="one built from files",
            do=f"Use it as it is: layoutmark run {options.name}",
        )
    if not options.source.exists():
        raise LayoutmarkError(
            "--source", found=f"nothing at {options.source}", expected="a folder or file", do="Check the path."
        )
