"""Check settings against their defaults: known keys only, each of the type of its default."""

from __future__ import annotations

from collections.abc import Mapping

from layoutmark.errors import LayoutmarkError, unknown_key_error
from layoutmark.validation import describe_type, describe_value


def check_settings(defaults: Mapping[str, object], settings: Mapping[str, object], location: str) -> dict[str, object]:
    """Return `settings` with every value in the type of its default.

    An integer becomes a float where the default is a float. A table is checked key by key and completed from its
    default. List items must have the type of the default's first item, if there is one.

    Raises LayoutmarkError naming `location` and the key if a key has no default or a value has the wrong type.

    >>> check_settings({"steps": 50, "guidance": 7.5}, {"guidance": 5}, "method 'toy'")
    {'guidance': 5.0}
    """
    for key in settings:
        if key not in defaults:
            raise unknown_key_error(location, key, defaults)
    return {key: _check_value(defaults[key], value, location, key) for key, value in settings.items()}


def _check_value(default: object, value: object, location: str, key: str) -> object:
    if type(default) is float and type(value) is int:
        return float(value)
    if isinstance(default, Mapping) and isinstance(value, Mapping):
        if not default:
            return dict(value)
        return {**default, **check_settings(default, value, f"{location}, setting {key!r}")}
    if isinstance(default, list) and isinstance(value, list | tuple):
        # The first item stands for all; an empty default says nothing about its items.
        return [_check_value(default[0], item, location, key) for item in value] if default else list(value)
    if type(default) is type(value):
        return value
    raise LayoutmarkError(
        f"{location}, setting {key!r}",
        found=describe_value(value),
        expected=f"{describe_type(type(default))} such as {default!r}",
        do="Correct the value.",
    )
