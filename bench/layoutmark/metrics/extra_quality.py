"""Image quality by measures beside the stack's first, each under its own name: a role `quality_musiq` gives that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.aggregation import without_pixels
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

PREFIX, SCALE = "quality_", "/scale"
"""Beginning of the roles; with this ending a role's key in `scorers` holds its least and greatest value, and which of
`higher` and `lower` is better.
"""


@dataclass(frozen=True)
class FurtherQuality:
    """A stored scalar of the whole image, named by its role."""

    info: MetricInfo

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [SampleOutcome(e.sample.id, e.seed, without_pixels(e) or self._outcome(e)) for e in evidence]

    def _outcome(self, evidence: Evidence) -> Outcome:
        value = evidence.quality.get(self.info.name)
        if value is None:
            return Unscored(f"no {self.info.name} stored")
        if not math.isfinite(value):
            return Unscored("not finite")
        if not self.info.low <= value <= self.info.high:
            return Unscored("outside the range that the stack card states")
        return Score(float(value))


def metrics(scorers: Mapping[str, str]) -> tuple[Metric, ...]:
    """One metric for each role of that kind."""
    found = []
    for role in sorted(r for r in scorers if r.startswith(PREFIX) and "/" not in r):
        low, high, better = scorers.get(role + SCALE, "0 1 higher").split()
        title = role.removeprefix(PREFIX).replace("_", " ")
        info = MetricInfo(
            role, f"{role}[whole image, {scorers[role]}]", f"Quality, {title}", "score", Direction(better),
            float(low), float(high), "1",
        )  # fmt: skip
        found.append(FurtherQuality(info))
    return tuple(found)
