"""Suites against what their cards publish: the ids that known files give, how many, and the digest of their content.

A card (`[suites.published]`) names the files; `ids/NAME.txt` beside it lists the ids, one a line, in the suite's order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from layoutmark.api import BuiltSuite
from layoutmark.errors import LayoutmarkError
from layoutmark.ingest.ledger import Entry
from layoutmark.registry.card_types import PublishedSuite, SuiteItem
from layoutmark.suites.storage import built_digest

FOLDER = "ids"
NAMED = 8
"""Ids that a note names; the records name them all."""
KIND = "published id"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Published ids that the built suite lacks, its ids that are not published, and whether the rest is the same.

    `order` says that the same ids stand in another order; `content` is None where no digest is published.
    """

    source: str
    samples: int
    missing: tuple[str, ...]
    added: tuple[str, ...]
    order: bool
    content: bool | None

    @property
    def same(self) -> bool:
        """Whether nothing that is published differs."""
        return not (self.missing or self.added or self.order) and self.content is not False

    def note(self) -> str:
        """One sentence for the card of the built suite."""
        if self.same:
            known = "ids and content" if self.content else "ids"
            return f"the published suite: same {self.samples:,} {known} ({self.source})"
        parts = [
            f"{len(ids):,} {what}: {', '.join(ids[:NAMED])}{' ...' if len(ids) > NAMED else ''}"
            for ids, what in ((self.missing, "published ids missing"), (self.added, "ids that are not published"))
            if ids
        ]
        if self.order:
            parts.append("the same ids in another order")
        if not parts:
            parts.append("the same ids with other content")
        return f"not the published suite ({self.source}): {'; '.join(parts)}"

    def records(self) -> list[Entry]:
        """A line for every id that is missing or not published."""
        return [
            *(Entry(KIND, name, "skipped", "published, but not made of this source") for name in self.missing),
            *(Entry("sample", name, "flagged", "its id is not published") for name in self.added),
        ]


def compared(built: BuiltSuite, card: SuiteItem, folder: Path) -> Comparison | None:
    """Compare a built suite with what its card, in `folder`, publishes; None where it publishes nothing.

    Raises LayoutmarkError if the list of ids is not the one that the card names.
    """
    published = card.published
    if published is None:
        return None
    ours = [sample.id for sample in built.samples]
    content = built_digest(built) == published.digest if published.digest else None
    if not published.ids:
        missing = () if len(ours) >= published.samples else (f"{published.samples - len(ours):,} of unknown name",)
        return Comparison(published.source, published.samples, missing, (), False, content)
    theirs = read_ids(card.name, published, folder)
    here, there = set(ours), set(theirs)
    return Comparison(
        published.source,
        published.samples,
        tuple(i for i in theirs if i not in here),
        tuple(i for i in ours if i not in there),
        here == there and ours != theirs,
        content,
    )


def read_ids(name: str, published: PublishedSuite, folder: Path) -> list[str]:
    """The published ids of a suite.  Raises LayoutmarkError if their file is gone or not the one published."""
    path = folder / FOLDER / f"{name}.txt"
    data = path.read_bytes() if path.is_file() else b""
    found = sha256(data).hexdigest()
    if found != published.ids:
        raise LayoutmarkError(
            f"suite {name}, {FOLDER}/{path.name}",
            found=f"sha256 {found[:16]}" if data else "no such file",
            expected=f"the published ids (sha256 {published.ids[:16]})",
            do="Restore the file, or publish anew: layoutmark suites export NAME --form ids --out FOLDER",
        )
    return data.decode("utf-8").split("\n")[:-1]


def listing(ids: Iterable[str]) -> str:
    """The content of a file of ids."""
    return "".join(f"{name}\n" for name in ids)
