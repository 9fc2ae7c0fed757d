"""The policy of a gate: a margin for each metric, and the rate of false alarms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from layoutmark.errors import LayoutmarkError
from layoutmark.registry import read_card
from layoutmark.score import Direction
from layoutmark.validation import InvalidValueError, Schema

DEFAULT_POLICY = Path(__file__).with_name("default.toml")


@dataclass(frozen=True, slots=True)
class MetricRule(Schema):
    """Requirements for one metric."""

    margin: float
    """Smallest loss that must be detected, in the metric's unit."""
    direction: Direction | None = None
    """Which way is better.  The metric declares it; a policy that contradicts the metric is refused."""
    ceiling: bool = True
    """Whether values proven to exceed those of true images by more than the margin are reported as too good."""
    lost: int = 0
    """How many images may lack a score that the baseline has."""
    optional: bool = False
    """Whether the metric is left out if neither side has a score."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.margin) and self.margin > 0):
            raise InvalidValueError(
                "margin",
                found=repr(self.margin),
                expected="a number above 0",
                do="State the smallest loss that matters.",
            )


@dataclass(frozen=True, slots=True)
class Policy(Schema):
    """The content of a gate.toml."""

    metrics: Mapping[str, MetricRule]
    alpha: float = 0.04
    """Level of the tests.  It stays below 5 % because scores do not meet all assumptions of a t test."""
    lost: int = 0
    """How many images may be lost that the baseline has."""
    same_code: bool = True
    """Whether both sides must be measured by identical code.  Versions of metrics must agree in any case."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5:
            raise LayoutmarkError(
                "alpha", found=repr(self.alpha), expected="a share between 0 and 0.5", do="Write 5 % as 0.05."
            )
        if not self.metrics:
            raise LayoutmarkError(
                "metrics", found="none", expected="at least one table [metrics.NAME]", do="Add one with a margin."
            )


def read_policy(path: Path | None) -> Policy:
    """Read a policy, or the shipped one if `path` is None.  Raises LayoutmarkError naming the file and the key.

    >>> read_policy(None).metrics["ap50"].margin
    0.05
    """
    return read_card(path or DEFAULT_POLICY, Policy)
