"""Settings of a method as a typed value: every key named, every type checked."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import TypeVar

from layoutmark.errors import LayoutmarkError, unknown_name

T = TypeVar("T")


def read_settings(kind: type[T], settings: Mapping[str, object], method: str) -> T:
    """Build the dataclass `kind` from plain values; a whole number may stand for a fraction.

    Raises LayoutmarkError for a key that `kind` does not have (with the closest ones), a missing one, or a wrong type.
    """
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    see = f"See: layoutmark methods show {method}"
    for name in settings:
        if name not in names:
            error = unknown_name("setting", name, names)
            do = error.do if error.do.startswith("Did you mean") else see
            raise LayoutmarkError(f"{method}: {error.what}", found=error.found, expected=error.expected, do=do)
    missing = [name for name in names if name not in settings]
    if missing:
        raise LayoutmarkError(
            f"{method}: settings", found="no " + ", ".join(missing), expected="all of " + ", ".join(names), do=see
        )
    values: dict[str, object] = {}
    for name in names:
        values[name] = _checked(method, name, settings[name], hints[name], see)
    return kind(**values)


def _checked(method: str, name: str, value: object, wanted: object, see: str) -> object:
    choices = typing.get_args(wanted) if typing.get_origin(wanted) is typing.Literal else ()
    if choices:
        if value in choices:
            return value
        expected = "one of " + ", ".join(repr(choice) for choice in choices)
    else:
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(wanted, type) and isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool)):
            return value
        expected = getattr(wanted, "__name__", str(wanted))
    raise LayoutmarkError(f"{method}: setting {name!r}", found=repr(value), expected=expected, do=see)
