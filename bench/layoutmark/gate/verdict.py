"""The result of a gate as values: one line per metric, lost images, the outcome and its exit code."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from layoutmark.gate.noninferiority import SampleSize

SCHEMA = "layoutmark-gate-1"
LOST_IMAGES_REASON = "images that the baseline has are lost"


class Outcome(StrEnum):
    """Outcome of a gate, or of one of its metrics."""

    PASS = "pass"
    REGRESSION = "regression"
    INCONCLUSIVE = "inconclusive"
    UNUSABLE = "unusable"
    UNSCORED = "not scored"
    """Metrics only: the metric is optional and neither side has a score."""


EXIT_CODES = {Outcome.PASS: 0, Outcome.REGRESSION: 1, Outcome.INCONCLUSIVE: 2, Outcome.UNUSABLE: 3}


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """One line of the table of verdicts.

    Attributes:
        metric: name of the metric.
        outcome: outcome for this metric.
        why: the reason, as part of a sentence.
        higher_is_better: direction of the metric; None if the stack does not have it.
        margin: the loss that must be detected, in the metric's unit.
        candidate: value of the candidate over the images both sides have.
        baseline: value of the baseline over the same images.
        difference: candidate minus baseline, in the metric's unit.
        low: lower end of the difference's interval at level 1 - 2 alpha, which agrees with the one-sided tests before
            Holm's correction.
        high: upper end of that interval.
        p_worse: p-value of the test "worse", after Holm's correction.
        p_not_worse: p-value of the test "not worse", after Holm's correction.
        fresh: difference on the fresh seeds alone.
        n: number of the candidate's images in the test.
        of: number of images or samples for which the baseline has a score.
        needed: how much data would settle an inconclusive metric.
    """

    metric: str
    outcome: Outcome
    why: str
    higher_is_better: bool | None
    margin: float
    candidate: float | None = None
    baseline: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_worse: float | None = None
    p_not_worse: float | None = None
    fresh: float | None = None
    n: int = 0
    of: int = 0
    needed: SampleSize | None = None


@dataclass(frozen=True, slots=True)
class LostImage:
    """An image that the baseline has and the candidate lacks."""

    sample: str
    seed: int
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a gate and everything it is based on.  `reasons` are sentences, the most severe first."""

    outcome: Outcome
    reasons: tuple[str, ...]
    metrics: tuple[MetricVerdict, ...]
    lost: tuple[LostImage, ...]
    candidate: str
    baseline: str
    protocol: str
    seeds: tuple[int, ...]
    fresh: tuple[int, ...]
    alpha: float
    notes: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """Exit code: 0 pass, 1 regression, 2 inconclusive, 3 unusable."""
        return EXIT_CODES[self.outcome]

    def to_json(self) -> dict[str, Any]:
        """Return plain data; docs/gates.md describes the schema."""
        return {"schema": SCHEMA, **asdict(self), "exit_code": self.code}
