"""All questions to a suite and a stack, and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from layoutmark.doctor import content_checks as content
from layoutmark.doctor import drift_check as drift
from layoutmark.doctor import geometry_checks as geometry
from layoutmark.doctor import image_checks, text_checks
from layoutmark.doctor import mask_checks as masks
from layoutmark.doctor.context import DoctorContext, Question, admit
from layoutmark.errors import LayoutmarkError
from layoutmark.registry import Registry


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer."""

    name: str
    ok: bool
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def questions() -> Mapping[str, Question]:
    """Every question by name, in the order they are asked."""
    return {
        **content.CHECKS,
        **geometry.CHECKS,
        **masks.CHECKS,
        **image_checks.CHECKS,
        **text_checks.CHECKS,
        **drift.CHECKS,
    }


def examine(registry: Registry, suite_name: str, stack_name: str) -> list[Check]:
    """Ask everything."""
    ward = admit(registry, suite_name, stack_name)
    return [Check(name, *answer(question, ward)) for name, question in questions().items()]


def answer(question: Question, ward: DoctorContext) -> tuple[bool, str]:
    """(in order, what was found); an error is an answer."""
    try:
        return question(ward)
    except LayoutmarkError as error:
        return False, str(error)
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"
