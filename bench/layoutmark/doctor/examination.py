"""All questions to a suite and a stack, and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from layoutmark.doctor import content, drift, geometry, masks, pictures, words
from layoutmark.doctor.ward import Question, Ward, admit
from layoutmark.errors import LayoutmarkError
from layoutmark.shelf import Shelf


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
    return {**content.CHECKS, **geometry.CHECKS, **masks.CHECKS, **pictures.CHECKS, **words.CHECKS, **drift.CHECKS}


def examine(shelf: Shelf, suite_name: str, stack_name: str) -> list[Check]:
    """Ask everything."""
    ward = admit(shelf, suite_name, stack_name)
    return [Check(name, *answer(question, ward)) for name, question in questions().items()]


def answer(question: Question, ward: Ward) -> tuple[bool, str]:
    """(in order, what was found); an error is an answer."""
    try:
        return question(ward)
    except LayoutmarkError as error:
        return False, str(error)
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"
