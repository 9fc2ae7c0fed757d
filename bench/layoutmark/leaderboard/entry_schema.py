"""The schema of a leaderboard entry: entry.json and the list in images.json.gz."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from layoutmark.score import Status
from layoutmark.store.results_schema import Scores
from layoutmark.validation import OpenSchema


@dataclass(frozen=True, slots=True)
class StackParts(OpenSchema):
    """The scorers of a stack."""

    names: Mapping[str, str]
    """Full names by role."""
    scorers: Mapping[str, str]
    """Digests by role."""


@dataclass(frozen=True, slots=True)
class ProtocolParts(OpenSchema):
    """The parts of the protocol, equal in all entries of a board."""

    suite: Mapping[str, object]
    stack: StackParts
    seeds: tuple[int, ...]
    metrics: Mapping[str, str]
    """Versions of the headline metrics."""


@dataclass(frozen=True, slots=True)
class EntryProtocol(OpenSchema):
    """The protocol with its digest."""

    hash: str
    parts: ProtocolParts


@dataclass(frozen=True, slots=True)
class EntryMetric(OpenSchema):
    """A headline metric, as in results.json."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class EntryRow(OpenSchema):
    """A method or reference row, as in results.json."""

    name: str
    kind: str
    title: str
    version: str
    preset: str | None
    settings: Mapping[str, object]
    code: str | None
    weights: str | None
    inputs: tuple[str, ...]
    deviations: tuple[Mapping[str, str], ...]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class EntryFacts(OpenSchema):
    """The content of entry.json."""

    format: str
    track: Literal["authors", "matched", "reference"]
    protocol: EntryProtocol
    row: EntryRow
    overrides: Mapping[str, object]
    """Settings that differ from the method's card."""
    because: str
    """Why they differ."""
    metrics: tuple[EntryMetric, ...]
    seconds_per_image: float | None
    environment: Mapping[str, str] = field(default_factory=dict)
    """Versions of packages."""
    drawn_on: Mapping[str, int] = field(default_factory=dict)
    """Number of images by the hardware that generated them."""
    run_protocol: str = ""
    previous: str = ""
    """Digest of the entry before."""
    samples: str = ""
    """Digest of the board's samples."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Digests of the entry's other files."""


@dataclass(frozen=True, slots=True)
class EntryImage(OpenSchema):
    """An image, as in results.json, with its headline scores only."""

    method: str
    sample: str
    seed: int
    status: Status
    reason: str
    image: str | None
    notes: Mapping[str, object]
    scores: Scores
