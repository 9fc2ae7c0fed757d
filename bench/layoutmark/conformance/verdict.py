"""The verdict of a check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Outcome of a check; a check that cannot run is neither passed nor failed."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome, with a reason unless it is `passed`."""

    outcome: Outcome
    reason: str = ""


PASSED = Verdict(Outcome.PASSED)


def failed(reason: str) -> Verdict:
    """The method breaks the rule."""
    return Verdict(Outcome.FAILED, reason)


def not_applicable(reason: str) -> Verdict:
    """The rule does not apply to this method, or cannot be checked on this stack."""
    return Verdict(Outcome.NOT_APPLICABLE, reason)
