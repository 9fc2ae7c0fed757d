"""Turn pydantic's errors into messages for authors of TOML and JSON files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from layoutmark.errors import LayoutmarkError, unknown_key_error

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]
"""Keys and list indices that lead from the top of a file to a value."""
Format = Literal["TOML", "JSON"]


def describe_value(value: object, file_format: Format = "TOML") -> str:
    """Name a value and its type, as authors of the file would.

    >>> describe_value("few"), describe_value(3), describe_value({}), describe_value({}, "JSON")
    ("a string 'few'", 'an integer 3', 'a table', 'an object')
    """
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "a table" if file_format == "TOML" else "an object"
    if isinstance(value, str | int | float):
        return f"{describe_type(type(value))} {value!r}"
    return "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"


def describe_type(kind: type) -> str:
    """Name a type, as authors of TOML and JSON files would.

    >>> describe_type(float), describe_type(bool)
    ('a number', 'true or false')
    """
    names: dict[type, str] = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}
    return names.get(kind, "a table" if issubclass(kind, Mapping) else "a list")


@dataclass(frozen=True, slots=True)
class Explainer:
    """Turns pydantic's errors into ours, with the help of the data and of the JSON Schema they broke."""

    data: object
    schema: Mapping[str, Any]
    source: str
    file_format: Format

    def problems(self, errors: Sequence[ErrorDetails]) -> list[LayoutmarkError]:
        """Return the problems in order: unknown keys, missing keys, values of a wrong type, broken rules."""
        unknown: list[LayoutmarkError] = []
        missing: dict[Path, list[str]] = {}
        invalid: dict[Path, LayoutmarkError] = {}
        broken_rules: list[LayoutmarkError] = []
        for error in errors:
            path = self._existing(error["loc"])
            if isinstance(rule := error.get("ctx", {}).get("error"), LayoutmarkError):
                broken_rules.append(rule.within(self._table(path)))
            elif error["type"] == "unexpected_keyword_argument" and path == error["loc"]:
                unknown.append(unknown_key_error(self._table(path[:-1]), str(path[-1]), self._properties(path[:-1])))
            elif error["type"] == "missing" and path == error["loc"][:-1]:
                missing.setdefault(path, []).append(str(error["loc"][-1]))
            else:
                # A value that fits no alternative of a union gives an error for each alternative.
                invalid.setdefault(path, self._invalid(path))
        missing_keys = [self._missing(path, names) for path, names in missing.items()]
        return [*unknown, *missing_keys, *invalid.values(), *broken_rules]

    def _existing(self, location: Path) -> Path:
        """Return the part of `location` that leads through the data; pydantic adds names of alternatives to it."""
        value = self.data
        for depth, step in enumerate(location):
            has_key = isinstance(value, Mapping) and step in value
            has_item = isinstance(value, list | tuple) and isinstance(step, int)
            if not (has_key or has_item):
                return location[:depth]
            value = value[step]  # type: ignore[index]
        return location

    def _missing(self, path: Path, names: Sequence[str]) -> LayoutmarkError:
        quoted = ", ".join(map(repr, names))
        expected = "; ".join(self._describe(self._properties(path)[name]) for name in names)
        return LayoutmarkError(
            self._table(path),
            found=f"no {'key' if len(names) == 1 else 'keys'} {quoted}",
            expected=expected if len(names) == 1 else f"respectively {expected}",
            do=f"Add {quoted}.",
        )

    def _invalid(self, path: Path) -> LayoutmarkError:
        value = self.data
        for step in path:
            value = value[step]  # type: ignore[index]
        return LayoutmarkError(
            f"{self.source}, key {_join(path)!r}" if path else self.source,
            found=describe_value(value, self.file_format),
            expected=self._describe(self._schema_at(path)),
            do="Correct the value.",
        )

    def _table(self, path: Path) -> str:
        if not path:
            return self.source
        name = _join(path)
        return f"{self.source}, table [{name}]" if self.file_format == "TOML" else f"{self.source}, object {name!r}"

    def _properties(self, path: Path) -> Mapping[str, Any]:
        properties: Mapping[str, Any] = self._object(self._schema_at(path)).get("properties", {})
        return properties

    def _schema_at(self, path: Path) -> Mapping[str, Any]:
        schema = self.schema
        for step in path:
            schema = self._object(schema)
            if isinstance(step, int):
                schema = schema["items"]
            else:
                schema = schema.get("properties", {}).get(step) or schema["additionalProperties"]
        return schema

    def _alternatives(self, schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return the alternatives of a schema, all references followed."""
        if "$ref" in schema:
            schema = self.schema["$defs"][schema["$ref"].rpartition("/")[2]]
        return [part for s in schema["anyOf"] for part in self._alternatives(s)] if "anyOf" in schema else [schema]

    def _object(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the alternative that has keys or items, if one has."""
        alternatives = self._alternatives(schema)
        return next((s for s in alternatives if s.get("type") in ("object", "array")), alternatives[0])

    def _describe(self, schema: Mapping[str, Any]) -> str:
        """Say what a schema accepts: ``a string``, ``a list, each item a table``, ``one of prompt, boxes``."""
        alternatives = self._alternatives(schema)
        if self.file_format == "TOML":  # which has no null
            alternatives = [s for s in alternatives if s.get("type") != "null"]
        return " or ".join(dict.fromkeys(map(self._describe_one, alternatives)))

    def _describe_one(self, schema: Mapping[str, Any]) -> str:
        if "patternErrorMessage" in schema:
            return str(schema["patternErrorMessage"])
        if "enum" in schema:
            return "one of " + ", ".join(schema["enum"])
        if schema.get("type") == "array":
            return "a list, each item " + self._describe(schema["items"]) if schema.get("items") else "a list"
        tables = "a table" if self.file_format == "TOML" else "an object"
        if schema.get("type") == "object" and schema.get("required") and self.file_format == "JSON":
            tables += " with " + ", ".join(map(repr, schema["required"]))
        names = {"string": "a string", "integer": "an integer", "number": "a number", "boolean": "true or false"}
        return names.get(schema.get("type", ""), "null" if schema.get("type") == "null" else tables)


def _join(path: Path) -> str:
    """Write a path as in ``suites[0].source``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
