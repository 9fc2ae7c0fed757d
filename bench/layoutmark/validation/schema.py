"""Base classes and markers for dataclasses that are read from files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from layoutmark.errors import LayoutmarkError


class InvalidValueError(LayoutmarkError, ValueError):
    """A value breaks a rule of its dataclass.  `validate` names the table; pydantic passes on only ValueErrors."""


class Schema:
    """Base of dataclasses that are read from files.  An unknown key is an error.

    Patterns also hold for instances built in Python; a subclass with a ``__post_init__`` calls `check_patterns` there.
    """

    __slots__ = ()
    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}

    def __post_init__(self) -> None:
        check_patterns(self)


class OpenSchema:
    """Base of dataclasses that are read from files in which later versions may add keys."""

    __slots__ = ()
    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "ignore", "strict": True}


@dataclass(frozen=True, slots=True)
class Pattern:
    """Regular expression that a string must match, as in ``Annotated[str, Pattern("^[a-z]+$", "small letters")]``."""

    regex: str
    description: str
    """Describes a valid string in error messages and editors."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        return {**handler(source), "pattern": self.regex}

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {**handler(schema), "patternErrorMessage": self.description}


def check_patterns(instance: Schema) -> None:
    """Raise InvalidValueError if a field of the instance, or a value of a mapping there, breaks its `Pattern`."""
    schema: Any = type(instance)  # mypy takes a class for unhashable
    for name, pattern in _patterns(schema).items():
        value = getattr(instance, name)
        values = {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, Mapping) else {name: value}
        for key, text in values.items():
            if not re.search(pattern.regex, text):
                raise InvalidValueError(
                    f"key {key!r}", found=f"a string {text!r}", expected=pattern.description, do="Correct the value."
                )


@cache
def _patterns(schema: Any) -> dict[str, Pattern]:
    """Return the patterns of a dataclass by field, those of mapping values included."""
    patterns = {}
    for name, hint in get_type_hints(schema, include_extras=True).items():
        item_hint = get_args(hint)[-1] if get_origin(hint) is Mapping else hint
        if get_origin(item_hint) is Annotated:
            for marker in item_hint.__metadata__:
                if isinstance(marker, Pattern):
                    patterns[name] = marker
    return patterns
