"""Checks of values from other sources: `require_*` refuses the file, `parse_*` and `get_field` skip the record."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from layoutmark.ingest.files import invalid_input_error
from layoutmark.ingest.ledger import Skip

INTEGER = re.compile(r"[-+]?[0-9]{1,40}")


def require_list(value: Any, where: str) -> list[Any]:
    """`value` if it is a list.  Raises LayoutmarkError, naming `where`, for anything else."""
    if not isinstance(value, list):
        raise invalid_input_error(where, describe_type(value), "a list")
    return value


def require_dict(value: Any, where: str) -> dict[str, Any]:
    """`value` if it is a dict (a JSON object).  Raises LayoutmarkError, naming `where`, for anything else."""
    if not isinstance(value, dict):
        raise invalid_input_error(where, describe_type(value), "an object")
    return value


def parse_number(value: Any, name: str) -> float:
    """A finite number, also if written as text.  Raises Skip, naming the field `name`, for anything else.

    >>> parse_number("2.5", "width")
    2.5
    """
    try:
        number = float("nan") if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise Skip(f"{name} is no finite number")
    return number


def parse_integer(value: Any, name: str) -> int:
    """An integer of any size, also if written as text or as a float that represents it exactly.

    Raises Skip, naming the field `name`, for anything else.

    >>> parse_integer("12", "id"), parse_integer(3.0, "id")
    (12, 3)
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    raise Skip(f"{name} is no whole number")


def parse_numbers(value: Any, count: int, name: str) -> list[float]:
    """A list of `count` finite numbers.  Raises Skip, naming the field `name`, for anything else.

    >>> parse_numbers([0, "1", 2.5], 3, "box")
    [0.0, 1.0, 2.5]
    """
    if not isinstance(value, list | tuple) or len(value) != count:
        raise Skip(f"{name} is not {count} numbers")
    return [parse_number(item, name) for item in value]


def parse_text(value: Any, name: str) -> str:
    """Text with at least one visible character, returned unchanged.  Raises Skip, naming the field `name`, otherwise.

    >>> parse_text(" a dog", "phrase")
    ' a dog'
    """
    if not isinstance(value, str):
        raise Skip(f"{name} is no text")
    if not value.strip():
        raise Skip(f"{name} is empty")
    return value


def get_field(record: Any, name: str) -> Any:
    """The value of the field `name` of a record.  Raises Skip if the record is not a mapping or lacks the field.

    >>> get_field({"prompt": "a dog"}, "prompt")
    'a dog'
    """
    if not isinstance(record, Mapping):
        raise Skip("not an object")
    if name not in record:
        raise Skip(f"no field {name!r}")
    return record[name]


def describe_type(value: Any) -> str:
    """The type of a value, for an error message.

    >>> describe_type([]), describe_type(3), describe_type(None)
    ('a list', 'an int', 'nothing')
    """
    if value is None:
        return "nothing"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
