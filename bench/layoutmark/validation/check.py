"""Check data against a dataclass."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from layoutmark.errors import LayoutmarkError
from layoutmark.validation.explain import Explainer, Format

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


def validate(
    data: object,
    target: type[T],
    source: str,
    *,
    file_format: Format = "TOML",
    text: str | None = None,
    advice: str = "",
) -> T:
    """Build a `target` from plain data of the file `source`.

    Args:
        data: content of the file, as `tomllib` or `json` reads it.
        target: a dataclass.
        source: name of the file, for messages.
        file_format: whether messages speak of tables (TOML) or objects (JSON).
        text: the data as JSON, if it is known; saves writing it again.
        advice: next step for the user, in place of the one that fits the problem.

    Raises:
        LayoutmarkError: for the most telling problem: first unknown keys (with the closest known one), then missing
            keys, then values of a wrong type, then broken rules.
    """
    value: T
    value, problems = _check(data, target, source, file_format, text)
    if problems:
        error = problems[0]
        raise LayoutmarkError(error.what, found=error.found, expected=error.expected, do=advice or error.do)
    return value


def find_problems(data: object, target: Any, source: str) -> list[LayoutmarkError]:
    """Return every problem that keeps JSON `data` from being a `target`, the most telling first."""
    return _check(data, target, source, "JSON")[1]


@cache
def type_adapter(target: Any) -> TypeAdapter[Any]:
    """Return pydantic's validator of a dataclass."""
    from pydantic import TypeAdapter

    return TypeAdapter(target)


def _check(
    data: object, target: Any, source: str, file_format: Format, text: str | None = None
) -> tuple[Any, list[LayoutmarkError]]:
    from pydantic import ValidationError

    def refuse(value: object) -> None:
        raise LayoutmarkError(
            source, found=f"{type(value).__name__} {value}", expected="a string, number, list or table", do="Quote it."
        )

    # Strict checks of JSON text take lists for tuples and strings for enums, which strict checks of objects do not.
    adapter = type_adapter(target)
    try:
        value = adapter.validate_json(text or json.dumps(data, default=refuse))
    except ValidationError as error:
        explain = Explainer(data, adapter.json_schema(), source, file_format)
        return None, explain.problems(error.errors(include_url=False))
    except LayoutmarkError as error:
        return None, [error.within(source)]
    return value, []
