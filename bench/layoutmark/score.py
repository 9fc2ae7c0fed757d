"""Scores: a number, or a reason why there is none; the facts about a metric; and the status of an image."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from layoutmark.errors import LayoutmarkError


class Direction(StrEnum):
    """Which way is better.  It has no default, so that it cannot be forgotten."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """Facts that readers of a metric need."""

    name: str
    """Short name, such as ``ap50``."""
    variant: str
    """Full name with all that changes the number, as in ``ap50[box, detector mini-yolo, conf>=0.001, pycocotools]``."""
    title: str
    unit: str
    direction: Direction
    low: float
    """Lower bound of the value."""
    high: float
    """Upper bound of the value."""
    version: str


@dataclass(frozen=True, slots=True)
class Score:
    """A finite number.  Values that could not be computed are `Unscored`, not NaN.

    >>> Score(0.5)
    Score(value=0.5)
    >>> Score(float("nan"))
    Traceback (most recent call last):
        ...
    layoutmark.errors.LayoutmarkError: score: found nan; expected a finite number. Return Unscored with the reason.
    """

    value: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise LayoutmarkError(
                "score", found=str(self.value), expected="a finite number", do="Return Unscored with the reason."
            )


@dataclass(frozen=True, slots=True)
class Unscored:
    """A value that could not be computed, and why.  It is reported, and never counted as 0.

    >>> Unscored("not detected").reason
    'not detected'
    """

    reason: str


Outcome = Score | Unscored


class Status(StrEnum):
    """Outcome of one requested image.  Every requested image has exactly one status."""

    OK = "ok"
    DEGENERATE = "degenerate"
    """Constant or not finite: stored and scored, and counted separately."""
    FILTERED = "filtered"
    """Blanked by a safety filter of the method: stored and scored, and counted separately."""
    NOT_APPLICABLE = "not_applicable"
    """The method declared that it cannot follow this input."""
    FAILED = "failed"
    """The method raised an error, whose text is the reason."""
    MISSING = "missing"
    """Not generated."""


SCORED_STATUSES = (Status.OK, Status.DEGENERATE, Status.FILTERED)
"""Statuses of images that have pixels and therefore scores."""

LAYOUT_INPUTS = frozenset({"boxes", "masks", "points", "scribbles"})
"""Inputs that describe positions.  A method that reads none of them does not control the layout."""
_LAYOUT_METRIC = re.compile(r"(ap|ar|miou|recall|precision)(\d|_|$)|(mask|point_in|scribble_in)_|success_rate$")


def controls_layout(method: Mapping[str, Any]) -> bool:
    """Return whether a row of `methods` in results.json controls the layout; True if its inputs are unknown.

    >>> controls_layout({"kind": "method", "inputs": ["prompt"]})
    False
    """
    inputs = method.get("inputs")
    return method.get("kind") != "method" or not inputs or not LAYOUT_INPUTS.isdisjoint(inputs)


def measures_layout(metric: str) -> bool:
    """Return whether the metric of this name measures positions.

    For a method that does not control the layout, such a number shows only what the prompt and chance reach.

    >>> measures_layout("ap50"), measures_layout("clip_t")
    (True, False)
    """
    return _LAYOUT_METRIC.match(metric) is not None
