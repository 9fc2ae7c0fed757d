"""What a check says of a method."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """A check that cannot be made is neither passed nor failed."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome; every one but `passed` has a reason."""

    outcome: Outcome
    reason: str = ""


PASSED = Verdict(Outcome.PASSED)


def failed(reason: str) -> Verdict:
    """The method breaks the rule."""
    return Verdict(Outcome.FAILED, reason)


def not_applicable(reason: str) -> Verdict:
    """The rule says nothing about this method, or cannot be tried on this stack."""
    return Verdict(Outcome.NOT_APPLICABLE, reason)
