"""What a builder hands over: samples, and an account of every record it read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from layoutmark.ingest.ledger import Entry, Ledger
from layoutmark.ingest.strata import finished
from layoutmark.layout import Reference, Sample


@dataclass(frozen=True, slots=True)
class BuiltSuite:
    """Samples read from a source, and how many records were kept, repaired or skipped, by reason.

    `records` has an entry for each record that was not simply kept.  `references` are the pictures that instances name
    (`Instance.reference`), made by `layoutmark.ingest.references.reference_of`.  `further` names, by the key of such a
    picture, more pictures of the same thing among `references`: no method sees them, fidelity is measured against all.
    """

    samples: tuple[Sample, ...]
    categories: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    records: tuple[Entry, ...] = ()
    references: tuple[Reference, ...] = ()
    further: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def built_suite(
    samples: Sequence[Sample],
    ledger: Ledger,
    notes: Iterable[str] = (),
    categories: Iterable[str] | None = None,
    references: Iterable[Reference] = (),
    further: Mapping[str, tuple[str, ...]] | None = None,
) -> BuiltSuite:
    """Samples with strata and sha256, the ledger's account, and the categories (those in use if none are given)."""
    used = sorted({i.category for s in samples for i in s.layout.instances})
    return BuiltSuite(
        finished(samples),
        tuple(used if categories is None else categories),
        ledger.counts,
        (*notes, *ledger.notes()),
        tuple(ledger.entries),
        tuple(references),
        dict(further or {}),
    )
