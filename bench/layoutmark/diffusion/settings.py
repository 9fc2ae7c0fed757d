"""A method's settings as a typed dataclass: unknown keys and wrong types are refused."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import TypeVar

from layoutmark.errors import LayoutmarkError, unknown_name_error

T = TypeVar("T")


def read_settings(kind: type[T], settings: Mapping[str, object], method: str) -> T:
    """Build the dataclass `kind` from plain values; an integer is accepted for a float.

    Raises LayoutmarkError for an unknown key (suggesting the closest known ones), a missing key, or a wrong type.
    """
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    next_step = f"See: layoutmark methods show {method}"
    for name in settings:
        if name not in names:
            error = unknown_name_error("setting", name, names)
            do = error.do if error.do.startswith("Did you mean") else next_step
            raise LayoutmarkError(f"{method}: {error.what}", found=error.found, expected=error.expected, do=do)
    missing = [name for name in names if name not in settings]
    if missing:
        raise LayoutmarkError(
            f"{method}: settings", found="no " + ", ".join(missing), expected="all of " + ", ".join(names), do=next_step
        )
    values = {name: _check(method, name, settings[name], hints[name], next_step) for name in names}
    return kind(**values)


def _check(method: str, name: str, value: object, hint: object, next_step: str) -> object:
    choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
    if choices:
        if value in choices:
            return value
        expected = "one of " + ", ".join(repr(choice) for choice in choices)
    else:
        if hint is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
            return value
        expected = getattr(hint, "__name__", str(hint))
    raise LayoutmarkError(f"{method}: setting {name!r}", found=repr(value), expected=expected, do=next_step)
