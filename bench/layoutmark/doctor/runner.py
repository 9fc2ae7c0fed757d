"""Runs all checks on a suite and a stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from layoutmark.doctor import content_checks, drift_check, geometry_checks, image_checks, mask_checks, text_checks
from layoutmark.doctor.context import DoctorCheck, DoctorContext, open_context
from layoutmark.errors import LayoutmarkError
from layoutmark.registry import Registry


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of one check: its name, whether it passed, and what it measured."""

    name: str
    ok: bool
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def all_checks() -> Mapping[str, DoctorCheck]:
    """Return every check by name, in the order they run."""
    return {
        **content_checks.CHECKS,
        **geometry_checks.CHECKS,
        **mask_checks.CHECKS,
        **image_checks.CHECKS,
        **text_checks.CHECKS,
        **drift_check.CHECKS,
    }


def run_checks(registry: Registry, suite_name: str, stack_name: str) -> list[CheckResult]:
    """Run every check.  Raises LayoutmarkError for an unknown suite or stack."""
    context = open_context(registry, suite_name, stack_name)
    return [CheckResult(name, *perform_check(check, context)) for name, check in all_checks().items()]


def perform_check(check: DoctorCheck, context: DoctorContext) -> tuple[bool, str]:
    """Return whether a check passed and what it measured; a check that raises has failed, with its error as detail."""
    try:
        return check(context)
    except LayoutmarkError as error:
        return False, str(error)
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"
