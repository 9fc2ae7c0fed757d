"""Comparison of a built suite with what its card publishes: sample ids, their number, and the digest of the content.

The card (`[suites.published]`) names the source files; `ids/NAME.txt` beside the card lists the ids, one per line, in
the suite's order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from layoutmark.api import BuiltSuite
from layoutmark.errors import LayoutmarkError
from layoutmark.ingest.ledger import LedgerEntry
from layoutmark.registry.card_types import PublishedSuite, SuiteItem
from layoutmark.suites.storage import built_digest

IDS_FOLDER = "ids"
MAX_NAMED_IDS = 8
"""How many ids a note lists; the ledger entries name them all."""
LEDGER_KIND = "published id"


@dataclass(frozen=True, slots=True)
class PublishedComparison:
    """How a built suite differs from the published one."""

    source: str
    """The card's description of the source files."""
    samples: int
    """Number of samples published."""
    missing: tuple[str, ...]
    """Published ids that the built suite lacks."""
    added: tuple[str, ...]
    """Ids of the built suite that are not published."""
    reordered: bool
    """Whether the ids are the same but in another order."""
    content_matches: bool | None
    """Whether the digests are equal; None if the card publishes none."""

    @property
    def matches(self) -> bool:
        """Whether the built suite agrees with everything that is published."""
        return not (self.missing or self.added or self.reordered) and self.content_matches is not False

    def note(self) -> str:
        """The result in one sentence, for the notes of the built suite."""
        if self.matches:
            compared_parts = "ids and content" if self.content_matches else "ids"
            return f"the published suite: same {self.samples:,} {compared_parts} ({self.source})"
        differences = [
            f"{len(ids):,} {what}: {', '.join(ids[:MAX_NAMED_IDS])}{' ...' if len(ids) > MAX_NAMED_IDS else ''}"
            for ids, what in ((self.missing, "published ids missing"), (self.added, "ids that are not published"))
            if ids
        ]
        if self.reordered:
            differences.append("the same ids in another order")
        if not differences:
            differences.append("the same ids with other content")
        return f"not the published suite ({self.source}): {'; '.join(differences)}"

    def ledger_entries(self) -> list[LedgerEntry]:
        """An entry for every id that is missing or not published."""
        missing_reason = "published, but not made of this source"
        return [
            *(LedgerEntry(LEDGER_KIND, name, "skipped", missing_reason) for name in self.missing),
            *(LedgerEntry("sample", name, "flagged", "its id is not published") for name in self.added),
        ]


def compare_with_published(built: BuiltSuite, card: SuiteItem, folder: Path) -> PublishedComparison | None:
    """Compare a built suite with what its card, in `folder`, publishes; None if it publishes nothing.

    Raises LayoutmarkError if the file of ids is missing or is not the one that the card names.
    """
    published = card.published
    if published is None:
        return None
    built_ids = [sample.id for sample in built.samples]
    content_matches = built_digest(built) == published.digest if published.digest else None
    if not published.ids:
        shortfall = published.samples - len(built_ids)
        missing = () if shortfall <= 0 else (f"{shortfall:,} of unknown name",)
        return PublishedComparison(published.source, published.samples, missing, (), False, content_matches)
    published_ids = read_published_ids(card.name, published, folder)
    built_set, published_set = set(built_ids), set(published_ids)
    return PublishedComparison(
        published.source,
        published.samples,
        tuple(i for i in published_ids if i not in built_set),
        tuple(i for i in built_ids if i not in published_set),
        built_set == published_set and built_ids != published_ids,
        content_matches,
    )


def read_published_ids(name: str, published: PublishedSuite, folder: Path) -> list[str]:
    """Read the published ids of the suite `name` from the folder of its card.

    Raises LayoutmarkError if the file is missing or its sha256 is not the one on the card.
    """
    path = folder / IDS_FOLDER / f"{name}.txt"
    data = path.read_bytes() if path.is_file() else b""
    file_digest = sha256(data).hexdigest()
    if file_digest != published.ids:
        raise LayoutmarkError(
            f"suite {name}, {IDS_FOLDER}/{path.name}",
            found=f"sha256 {file_digest[:16]}" if data else "no such file",
            expected=f"the published ids (sha256 {published.ids[:16]})",
            do=f"Restore the file, or publish it again: layoutmark suites export {name} --form ids --out {path.parent}",
        )
    return data.decode("utf-8").split("\n")[:-1]


def format_ids(ids: Iterable[str]) -> str:
    """The content of a file of ids: one per line."""
    return "".join(f"{name}\n" for name in ids)
