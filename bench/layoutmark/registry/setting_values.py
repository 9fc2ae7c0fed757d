"""Settings given on top of defaults: known keys only, each of its default's type."""

from __future__ import annotations

from collections.abc import Mapping

from layoutmark.errors import LayoutmarkError
from layoutmark.registry.card_reader import type_name, unknown_key


def checked(defaults: Mapping[str, object], given: Mapping[str, object], where: str) -> dict[str, object]:
    """`given` with every value in the type of its default.

    An integer given for a number becomes a number; a table is checked key by key and completed from the default;
    an item of a list must have the type of the default's items, if there are any.
    Raises LayoutmarkError naming `where` and the key if a key has no default or a value another type.
    """
    for key in given:
        if key not in defaults:
            raise unknown_key(where, key, defaults)
    return {key: _value(defaults[key], value, where, key) for key, value in given.items()}


def _value(default: object, value: object, where: str, key: str) -> object:
    if type(default) is float and type(value) is int:
        return float(value)
    if isinstance(default, Mapping) and isinstance(value, Mapping):
        return {**default, **checked(default, value, f"{where}, setting {key!r}")} if default else dict(value)
    if isinstance(default, list) and isinstance(value, list | tuple):
        # The first item stands for all; an empty default says nothing about its items.
        return [_value(default[0], item, where, key) for item in value] if default else list(value)
    if type(default) is type(value):
        return value
    raise LayoutmarkError(
        f"{where}, setting {key!r}",
        found=f"{type_name(value)} ({value!r})",
        expected=f"{type_name(default)} such as {default!r}",
        do="Correct the value.",
    )
