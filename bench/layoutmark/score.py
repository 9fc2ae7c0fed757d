"""What a metric says: a number with its unit and direction, or a reason why there is none."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from layoutmark.errors import LayoutmarkError


class Direction(StrEnum):
    """Which way is better.  There is no default: forgetting it is an error."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """What a reader must know of a metric.

    `name` is the short name of the headline (``ap50``), `variant` the full name with everything that changes the number
    (``ap50[box, detector mini-yolo, conf>=0.001, pycocotools]``), `low` and `high` bound the value.
    """

    name: str
    variant: str
    title: str
    unit: str
    direction: Direction
    low: float
    high: float
    version: str


@dataclass(frozen=True, slots=True)
class Score:
    """A finite number.  NaN is refused: what could not be scored is `Unscored`."""

    value: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise LayoutmarkError(
                "score", found=str(self.value), expected="a finite number", do="Return Unscored with the reason."
            )


@dataclass(frozen=True, slots=True)
class Unscored:
    """No number, and why.  Never counted as 0, always counted."""

    reason: str


Outcome = Score | Unscored


class Status(StrEnum):
    """What became of one requested image.  Everything requested ends in exactly one of these."""

    OK = "ok"
    DEGENERATE = "degenerate"
    """Constant or not finite: kept and scored, and counted apart."""
    FILTERED = "filtered"
    """Blanked by a safety filter of the method: kept and scored, and counted apart."""
    NOT_APPLICABLE = "not_applicable"
    """The method declared that it cannot honour this input."""
    FAILED = "failed"
    """The method raised an error; its text is kept."""
    MISSING = "missing"
    """Asked for and not there."""


SCORED = (Status.OK, Status.DEGENERATE, Status.FILTERED)
"""States that have pixels, and therefore scores."""

PLACES = frozenset({"boxes", "masks", "points", "scribbles"})
"""Inputs that say where things go.  A method that reads none of them does not control the layout."""
_PLACING = re.compile(r"(ap|ar|miou|recall|precision)(\d|_|$)|(mask|point_in|scribble_in)_|success_rate$")


def controls_layout(method: Mapping[str, Any]) -> bool:
    """Whether a row of `methods` in results.json read where things go; True where nothing is known of its inputs."""
    inputs = method.get("inputs")
    return method.get("kind") != "method" or not inputs or not PLACES.isdisjoint(inputs)


def measures_layout(metric: str) -> bool:
    """Whether the metric of this name says how well things are placed.

    Such a number says of a method that does not control the layout only what chance and the prompt give.
    """
    return _PLACING.match(metric) is not None
