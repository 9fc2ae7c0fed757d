"""The schema of results.json: what must be present and consistent, so that readers can rely on it.

Unknown keys are allowed, because later versions add some.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from layoutmark.score import Status
from layoutmark.validation import InvalidValueError, OpenSchema

RESULTS_SCHEMA = "layoutmark-results-1"


@dataclass(frozen=True, slots=True)
class UnscoredValue(OpenSchema):
    """The reason why a score does not exist."""

    unscored: str


Scores = Mapping[str, float | UnscoredValue]
"""Scores by metric."""


@dataclass(frozen=True, slots=True)
class ProtocolRecord(OpenSchema):
    """Everything that can change a number, except the settings of methods."""

    hash: str
    parts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class NamedRecord(OpenSchema):
    """A suite or a stack."""

    name: str


@dataclass(frozen=True, slots=True)
class MethodRecord(OpenSchema):
    """A method or reference row of the table."""

    name: str
    kind: str
    counts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class MetricRecord(OpenSchema):
    """A metric with its unit and direction."""

    name: str
    variant: str
    unit: str
    higher_is_better: bool


@dataclass(frozen=True, slots=True)
class TableRow(OpenSchema):
    """A cell of the table: one metric of one method."""

    method: str
    metric: str
    variant: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    of: int
    unit: str
    higher_is_better: bool
    worst: float | None = None
    caution: str = ""


@dataclass(frozen=True, slots=True)
class PairRecord(OpenSchema):
    """The difference between two methods on one metric."""

    a: str
    b: str
    metric: str


@dataclass(frozen=True, slots=True)
class SampleRecord(OpenSchema):
    """A requested sample."""

    id: str
    prompt: str
    instances: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class ImageRecord(OpenSchema):
    """An image with its outcome and scores."""

    method: str
    sample: str
    seed: int
    status: Status
    scores: Scores
    instances: Mapping[str, Scores] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Results(OpenSchema):
    """The content of results.json."""

    schema: str
    name: str
    protocol: ProtocolRecord
    suite: NamedRecord
    stack: NamedRecord
    seeds: tuple[object, ...]
    methods: tuple[MethodRecord, ...]
    metrics: tuple[MetricRecord, ...]
    rows: tuple[TableRow, ...]
    pairs: tuple[PairRecord, ...]
    ties: Mapping[str, object]
    samples: tuple[SampleRecord, ...]
    images: tuple[ImageRecord, ...]
    environment: Mapping[str, object]

    def __post_init__(self) -> None:
        for location, actual, expected in _find_inconsistencies(self):
            raise InvalidValueError(location, found=actual, expected=expected, do="Correct the value.")


def _find_inconsistencies(results: Results) -> Iterator[tuple[str, str, str]]:
    """Yield location, found and expected for names that refer to nothing and for impossible counts."""
    methods, metrics = {m.name for m in results.methods}, {m.name for m in results.metrics}
    samples = {s.id for s in results.samples}
    for i, row in enumerate(results.rows):
        if row.method not in methods:
            yield f"rows[{i}]", f"method {row.method!r}", "a method of the list 'methods'"
        if row.metric not in metrics:
            yield f"rows[{i}]", f"metric {row.metric!r}", "a metric of the list 'metrics'"
        if not 0 <= row.n <= row.of:
            yield f"rows[{i}]", f"n {row.n} of {row.of}", "0 <= n <= of"
    for i, image in enumerate(results.images):
        if image.method not in methods or image.sample not in samples:
            yield f"images[{i}]", f"{image.method!r}, {image.sample!r}", "a method and a sample of this file"
        if missing := metrics - image.scores.keys():
            yield f"images[{i}], key 'scores'", f"no {min(missing)!r}", "every metric of the list 'metrics'"
