"""Image quality by measures beyond the stack's own, each named by its role, such as `quality_musiq`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layoutmark.api import Metric
from layoutmark.evidence import Evidence, SampleOutcome
from layoutmark.metrics.aggregation import missing_pixels_reason
from layoutmark.score import Direction, MetricInfo, Outcome, Score, Unscored

ROLE_PREFIX, SCALE_SUFFIX = "quality_", "/scale"
"""Prefix of the roles. A role's key with the suffix holds its smallest and largest value and which of `higher` and
`lower` is better.
"""


@dataclass(frozen=True)
class ExtraQuality:
    """A stored number of the whole image, under its role's name in the evidence's `quality`.

    >>> from layoutmark.metrics.examples import example_image
    >>> (metric,) = metrics({"quality_musiq": "MUSIQ", "quality_musiq/scale": "0 100 higher"})
    >>> metric.outcomes([example_image(quality={"quality_musiq": 61.5})])[0].outcome
    Score(value=61.5)
    """

    info: MetricInfo

    def outcomes(self, evidence: Sequence[Evidence]) -> list[SampleOutcome]:
        """One outcome per image, in order."""
        return [SampleOutcome(e.sample.id, e.seed, missing_pixels_reason(e) or self._outcome(e)) for e in evidence]

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
    """One metric for each role `quality_NAME`.

    >>> [metric.info.name for metric in metrics({"quality_musiq": "MUSIQ"})]
    ['quality_musiq']
    """
    offered = []
    for role in sorted(r for r in scorers if r.startswith(ROLE_PREFIX) and "/" not in r):
        low, high, better = scorers.get(role + SCALE_SUFFIX, "0 1 higher").split()
        title = role.removeprefix(ROLE_PREFIX).replace("_", " ")
        info = MetricInfo(
            role, f"{role}[whole image, {scorers[role]}]", f"Quality, {title}", "score", Direction(better),
            float(low), float(high), "1",
        )  # fmt: skip
        offered.append(ExtraQuality(info))
    return tuple(offered)
