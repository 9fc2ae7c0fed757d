"""The result of a suite builder: samples, and an account of every record read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from layoutmark.ingest.ledger import Ledger, LedgerEntry
from layoutmark.ingest.strata import add_strata
from layoutmark.layout import Reference, Sample


@dataclass(frozen=True, slots=True)
class BuiltSuite:
    """Samples read from a source, and how many records were kept, repaired or skipped, by reason.

    `records` has an entry for each record that was not simply kept.  `references` are the images that instances name
    in `Instance.reference`, made by `layoutmark.ingest.references.make_reference`.  `extra_references` maps the key of
    such an image to the keys of more images of the same subject among `references`: no method sees them, and fidelity
    is measured against all of them.
    """

    samples: tuple[Sample, ...]
    categories: tuple[str, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    records: tuple[LedgerEntry, ...] = ()
    references: tuple[Reference, ...] = ()
    extra_references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def assemble_suite(
    samples: Sequence[Sample],
    ledger: Ledger,
    notes: Iterable[str] = (),
    categories: Iterable[str] | None = None,
    references: Iterable[Reference] = (),
    extra_references: Mapping[str, tuple[str, ...]] | None = None,
) -> BuiltSuite:
    """Build the suite of `samples`: add strata and content digests, and the ledger's account.

    `categories` defaults to the categories in use, sorted by name.

    >>> from layoutmark.layout import Box, Canvas, Instance, Layout
    >>> layout = Layout(Canvas(64, 64), (Instance("0", "a red cat", "cat", Box(0, 0, 0.5, 0.5)),))
    >>> suite = assemble_suite([Sample("toy-0", "a red cat", layout)], Ledger())
    >>> suite.categories, suite.samples[0].strata["count"]
    (('cat',), '1')
    """
    used = sorted({i.category for s in samples for i in s.layout.instances})
    return BuiltSuite(
        add_strata(samples),
        tuple(used if categories is None else categories),
        ledger.counts,
        (*notes, *ledger.notes()),
        tuple(ledger.entries),
        tuple(references),
        dict(extra_references or {}),
    )
