"""What a gate asks for: a margin per metric, and how often it may cry wolf."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from layoutmark.errors import LayoutmarkError
from layoutmark.registry import read_card
from layoutmark.score import Direction

DEFAULT = Path(__file__).with_name("default.toml")


@dataclass(frozen=True, slots=True)
class Rule:
    """What is asked of one metric."""

    margin: float
    """The loss, in the metric's unit, that must be caught."""
    direction: Direction | None = None
    """Which way is better; the metric declares it, and a policy that says otherwise is refused."""
    ceiling: bool = True
    """Whether values proven above those of true images, by more than the margin, are too good to be true."""
    lost: int = 0
    """Images that may lose this score while the baseline has it."""
    optional: bool = False
    """Left out where neither side has a score."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.margin) and self.margin > 0):
            raise LayoutmarkError(
                "margin", found=repr(self.margin), expected="a number above 0", do="State the least loss that matters."
            )


@dataclass(frozen=True, slots=True)
class Policy:
    """The content of a gate.toml."""

    metrics: Mapping[str, Rule]
    alpha: float = 0.04
    """Level of the tests.  The reserve to 5 % is for what scores do not keep of a t test's assumptions."""
    lost: int = 0
    """Images that may be lost while the baseline has them."""
    same_code: bool = True
    """Whether both must be measured by the very same code; versions of metrics must agree in any case."""

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
    """Read a policy; None gives the one that ships.  Raises LayoutmarkError naming file and key."""
    return read_card(path or DEFAULT, Policy)
