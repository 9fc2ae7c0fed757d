"""Read a card: a TOML file into frozen dataclasses, nothing guessed, nothing ignored.

The dataclass is the schema.  A field may be str, int, float, bool, a `StrEnum`, a dataclass (a nested table), a tuple
of one of these, a mapping from names to one of these, ``Mapping[str, object]`` (a free table) or any of them
``| None``.  A field without a default must be there.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from layoutmark.errors import LayoutmarkError

Card = TypeVar("Card")


def read_card(path: Path, card: type[Card]) -> Card:
    """Read the TOML file at `path` as a `card`.

    Raises LayoutmarkError naming the file and the key when the file is missing or no TOML, a key is unknown (with the
    closest known key) or missing, or a value has another type than the card says.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise LayoutmarkError(str(path), found="no such file", expected="a card", do="Check the folder.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutmarkError(str(path), found=str(error), expected="a readable card", do="Repair the file.") from error
    except tomllib.TOMLDecodeError as error:
        raise LayoutmarkError(str(path), found=str(error), expected="valid TOML", do="Repair that line.") from error
    return typing.cast(Card, _table(data, card, str(path), ""))


def type_name(value: object) -> str:
    """What a TOML author calls the type of `value`."""
    names: dict[type, str] = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}
    if type(value) in names:
        return names[type(value)]
    if isinstance(value, Mapping):
        return "a table"
    return "a list" if isinstance(value, list | tuple) else type(value).__name__


def unknown_key(where: str, key: str, known: typing.Iterable[str]) -> LayoutmarkError:
    """An error for a key that no one reads, with the closest known one."""
    names = sorted(known)
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
    return LayoutmarkError(
        where,
        found=f"the unknown key {key!r}",
        expected="one of " + (", ".join(names) or "(none)"),
        do=f"Did you mean {close[0]!r}?" if close else "Remove the key.",
    )


def _table(data: Mapping[str, Any], kind: type[Any], file: str, prefix: str) -> Any:
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    where = f"{file}, table [{prefix}]" if prefix else file
    for key in data:
        if key not in fields:
            raise unknown_key(where, key, fields)
    lacking = [
        name
        for name, field in fields.items()
        if name not in data and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if lacking:
        wanted = [_describe(hints[name]) for name in lacking]
        names = ", ".join(map(repr, lacking))
        raise LayoutmarkError(
            where,
            found=f"no {'key' if len(lacking) == 1 else 'keys'} {names}",
            expected=wanted[0] if len(lacking) == 1 else f"respectively {'; '.join(wanted)}",
            do=f"Add {names} to the card.",
        )
    values = {
        name: _value(data[name], hints[name], file, f"{prefix}.{name}" if prefix else name)
        for name in fields
        if name in data
    }
    try:
        return kind(**values)
    except LayoutmarkError as error:
        what = f"{where}, {error.what}"
        raise LayoutmarkError(what, found=error.found, expected=error.expected, do=error.do) from error


def _value(data: Any, hint: Any, file: str, key: str) -> Any:
    if hint is object or hint is Any:
        return data
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _value(data, next(a for a in arguments if a is not type(None)), file, key)
    if origin is tuple and isinstance(data, list):
        return tuple(_value(item, arguments[0], file, f"{key}[{i}]") for i, item in enumerate(data))
    if origin is not None and issubclass(origin, Mapping) and isinstance(data, Mapping):
        return {name: _value(item, arguments[1], file, f"{key}.{name}") for name, item in data.items()}
    if dataclasses.is_dataclass(hint) and isinstance(data, Mapping):
        return _table(data, typing.cast(type[Any], hint), file, key)
    if isinstance(hint, type) and issubclass(hint, StrEnum) and data in list(hint):
        return hint(data)
    if hint is float and type(data) in (int, float):
        return float(data)
    if hint in (str, int, bool) and type(data) is hint:
        return data
    shown = repr(data) if isinstance(data, str | int | float) else ""
    raise LayoutmarkError(
        f"{file}, key {key!r}",
        found=f"{type_name(data)} {shown}".strip(),
        expected=_describe(hint),
        do="Correct the value.",
    )


def _describe(hint: Any) -> str:
    """What a field takes, in words: ``a text``, ``a list of a text``, ``one of prompt, boxes``."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _describe(next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        return "a list, each item " + _describe(arguments[0])
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return "one of " + ", ".join(hint)
    return {str: "a text", int: "an integer", float: "a number", bool: "true or false"}.get(hint, "a table")
