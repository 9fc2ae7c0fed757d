"""What a gate says, as values: one line per metric, what was lost, the outcome and its exit code."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from layoutmark.gate.noninferiority import Needed


class Outcome(StrEnum):
    """What a gate can say."""

    PASS = "pass"
    REGRESSION = "regression"
    INCONCLUSIVE = "inconclusive"
    UNUSABLE = "unusable"
    UNSCORED = "not scored"
    """Of a metric only: it is optional, and neither side has a score."""


EXIT = {Outcome.PASS: 0, Outcome.REGRESSION: 1, Outcome.INCONCLUSIVE: 2, Outcome.UNUSABLE: 3}


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """One line of the verdict table.

    `difference` is candidate less baseline in the metric's unit, `low` and `high` its interval of level 1 - 2 alpha (so
    that it agrees with the one-sided tests), before Holm; `p_worse` and `p_not_worse` are after it.  `fresh` is the
    difference on the fresh seeds alone.  `n` images of `of` that the baseline has a score for.
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
    needed: Needed | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """An image that the baseline has and the candidate has not."""

    sample: str
    seed: int
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says, and all it rests on.  `reasons` are sentences, the gravest first."""

    outcome: Outcome
    reasons: tuple[str, ...]
    metrics: tuple[MetricVerdict, ...]
    lost: tuple[Lost, ...]
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
        return EXIT[self.outcome]

    def to_json(self) -> dict[str, Any]:
        """Plain data; the schema stands in docs/gates.md."""
        return {"schema": "layoutmark-gate-1", **asdict(self), "exit_code": self.code}
