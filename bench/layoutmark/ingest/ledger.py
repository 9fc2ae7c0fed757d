"""An account of every record of a source: kept, repaired, flagged or skipped, by kind, id and reason.

A builder keeps one ledger and closes each record once, with `keep` or `skip`.  A file that cannot be read at all is
refused with a LayoutmarkError (`layoutmark.ingest.files.invalid_input_error`), so nothing is dropped silently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["repaired", "flagged", "skipped"]
OUTCOMES: tuple[Outcome, ...] = ("repaired", "flagged", "skipped")


_on_record_closed: ContextVar[Callable[[str], None] | None] = ContextVar("on_record_closed", default=None)


@contextmanager
def watch_records(callback: Callable[[str], None]) -> Iterator[None]:
    """Within the block, call `callback` with the kind of each record that a new ledger closes (for progress display).

    >>> kinds = []
    >>> with watch_records(kinds.append):
    ...     Ledger().keep("image", 7)
    >>> kinds
    ['image']
    """
    previous = _on_record_closed.set(callback)
    try:
        yield
    finally:
        _on_record_closed.reset(previous)


class Skip(Exception):
    """Raised for a record or instance that cannot be used; the message is the reason counted in the ledger."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One outcome of one record.  `kind` is a singular noun such as "image"; `id` is the source's own id."""

    kind: str
    id: str
    outcome: Outcome
    reason: str


class Ledger:
    """Counts of all records, and an entry for each record that was not simply kept.

    >>> ledger = Ledger()
    >>> ledger.keep("image", 1)
    >>> ledger.keep("image", 2, repairs=["stray blanks"])
    >>> ledger.skip("image", 3, "no caption")
    >>> ledger.counts["images"], ledger.counts["images skipped: no caption"]
    (3, 1)
    >>> ledger.entries[1]
    LedgerEntry(kind='image', id='3', outcome='skipped', reason='no caption')
    """

    def __init__(self) -> None:
        self.entries: list[LedgerEntry] = []
        self._totals: dict[str, Counter[str]] = {}
        self._reasons: Counter[tuple[str, Outcome, str]] = Counter()
        self._on_record_closed = _on_record_closed.get()

    def keep(self, kind: str, id: object, repairs: Iterable[str] = (), flags: Iterable[str] = ()) -> None:
        """Close a record that was used, with what was repaired in it and what readers should know about it."""
        distinct_repairs = list(dict.fromkeys(repairs))
        self._close(kind, "repaired" if distinct_repairs else "kept")
        for reason in distinct_repairs:
            self._add_entry(kind, id, "repaired", reason)
        for reason in dict.fromkeys(flags):
            self._add_entry(kind, id, "flagged", reason)

    def skip(self, kind: str, id: object, reason: object) -> None:
        """Close a record that was left out."""
        self._close(kind, "skipped")
        self._add_entry(kind, id, "skipped", str(reason))

    @property
    def counts(self) -> dict[str, int]:
        """For each kind: all records; how many were kept, repaired and skipped (they add up); a count per reason."""
        counts: dict[str, int] = {}
        for kind, totals in self._totals.items():
            counts[f"{kind}s"] = totals.total()
            counts.update({f"{kind}s {end}": totals[end] for end in ("kept", "repaired", "skipped") if totals[end]})
            for outcome in OUTCOMES:
                reasons = {r: n for (k, o, r), n in self._reasons.items() if (k, o) == (kind, outcome)}
                counts.update({f"{kind}s {outcome}: {r}": n for r, n in sorted(reasons.items())})
        return counts

    def notes(self) -> list[str]:
        """The counts by reason as sentences for the notes of the built suite."""
        return [f"{key} ({n:,})" for key, n in self.counts.items() if ": " in key]

    def _close(self, kind: str, end: str) -> None:
        self._totals.setdefault(kind, Counter())[end] += 1
        if self._on_record_closed is not None:
            self._on_record_closed(kind)

    def _add_entry(self, kind: str, id: object, outcome: Outcome, reason: str) -> None:
        self.entries.append(LedgerEntry(kind, str(id), outcome, reason))
        self._reasons[kind, outcome, reason] += 1
