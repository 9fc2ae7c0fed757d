"""What became of every record of a source: kept, repaired, flagged or skipped, by kind, id and reason.

A reader keeps one ledger.  It closes each record once, with `keep` or `skip`; what it cannot read at all it refuses
with a LayoutmarkError (`layoutmark.ingest.files.refused`), so that nothing is ever dropped without a word.
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


_watcher: ContextVar[Callable[[str], None] | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(tell: Callable[[str], None]) -> Iterator[None]:
    """Within the block, `tell` is called with the kind of every record that any ledger closes: a show of progress."""
    before = _watcher.set(tell)
    try:
        yield
    finally:
        _watcher.reset(before)


class Skip(Exception):
    """A record cannot become what it should; the text is the counted reason."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing said of one record.  `kind` is a singular noun such as "image"; `id` is the source's own."""

    kind: str
    id: str
    outcome: Outcome
    reason: str


class Ledger:
    """Counts of all records and an entry for each that was not simply kept."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._totals: dict[str, Counter[str]] = {}
        self._reasons: Counter[tuple[str, Outcome, str]] = Counter()
        self._tell_watcher = _watcher.get()

    def keep(self, kind: str, id: object, repairs: Iterable[str] = (), flags: Iterable[str] = ()) -> None:
        """Close a record that was taken up, saying what was repaired and what a reader should know."""
        told = list(dict.fromkeys(repairs))
        self._close(kind, "repaired" if told else "kept")
        for reason in told:
            self._tell(kind, id, "repaired", reason)
        for reason in dict.fromkeys(flags):
            self._tell(kind, id, "flagged", reason)

    def skip(self, kind: str, id: object, reason: object) -> None:
        """Close a record that was left out."""
        self._close(kind, "skipped")
        self._tell(kind, id, "skipped", str(reason))

    @property
    def counts(self) -> dict[str, int]:
        """Per kind the records, how many were kept, repaired and skipped (these add up), then a line per reason."""
        found: dict[str, int] = {}
        for kind, totals in self._totals.items():
            found[f"{kind}s"] = totals.total()
            found.update({f"{kind}s {end}": totals[end] for end in ("kept", "repaired", "skipped") if totals[end]})
            for outcome in OUTCOMES:
                lines = {r: n for (k, o, r), n in self._reasons.items() if (k, o) == (kind, outcome)}
                found.update({f"{kind}s {outcome}: {r}": n for r, n in sorted(lines.items())})
        return found

    def notes(self) -> list[str]:
        """The counted reasons as sentences for the card of the built suite."""
        return [f"{key} ({n:,})" for key, n in self.counts.items() if ": " in key]

    def _close(self, kind: str, end: str) -> None:
        self._totals.setdefault(kind, Counter())[end] += 1
        if self._tell_watcher is not None:
            self._tell_watcher(kind)

    def _tell(self, kind: str, id: object, outcome: Outcome, reason: str) -> None:
        self.entries.append(Entry(kind, str(id), outcome, reason))
        self._reasons[kind, outcome, reason] += 1
