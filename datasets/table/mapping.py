"""`mapping.toml`: the columns of a table, and the convention in which its boxes are written.

file = "layouts.csv"            # .csv, .tsv, .json with a list of objects, or .jsonl with one object per line
form = "long"                   # long: one row per box; wide: one row per scene, columns repeated by number
box = "xywh"                    # xyxy, xywh, cxcywh, xxyy
units = "pixels"                # fractions, percent
canvas = [512, 512]             # or columns: canvas = ["width", "height"]
licence = "CC-BY-4.0"           # optional
delimiter = ";"                 # of a text table; by default a comma, or a tab in .tsv
decimal = ","                   # decimal mark of numbers written as text; a point by default

[columns]
id = "scene"                    # of the scene; optional in wide tables
prompt = "caption"              # optional: without it, prompts are made of the phrases
phrase = "object"               # wide: "object_{n}", where {n} is any number, 1 and 01 alike
category = "class"              # optional
box = ["x", "y", "w", "h"]      # wide: ["x_{n}", ...]; or one column with four numbers
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from layoutmark.ingest.boxes import Convention, Units
from layoutmark.ingest.files import invalid_input_error, read_text

PLACEHOLDER = "{n}"
KEYS = {"file", "form", "box", "units", "canvas", "licence", "delimiter", "decimal", "columns"}
COLUMNS = {"id", "prompt", "phrase", "category", "box"}
FORMS = ("long", "wide")


@dataclass(frozen=True)
class TableMapping:
    """A checked mapping file."""

    file: Path
    is_wide: bool
    convention: Convention
    units: Units
    canvas: tuple[Any, Any]
    """Width and height in pixels, or the names of two columns."""
    licence: str
    delimiter: str | None
    has_decimal_comma: bool
    columns: Mapping[str, str]
    """Column names by key, except those of the box."""
    box_columns: tuple[str, ...]
    """Four columns, or one that has all four numbers."""

    @cached_property
    def phrase_pattern(self) -> re.Pattern[str]:
        """Matches the phrase columns of a wide table; the group is the number as the column has it."""
        before, _, after = self.columns["phrase"].partition(PLACEHOLDER)
        return re.compile(rf"{re.escape(before)}(\d+){re.escape(after)}")


def read_mapping(path: Path) -> TableMapping:
    """Read a mapping file.  Raises LayoutmarkError, naming the key, for unknown, missing and invalid keys."""
    where = f"file {path.name}"
    try:
        data = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise invalid_input_error(where, str(error), "TOML") from error
    columns = data.get("columns", {})
    if not isinstance(columns, dict):
        raise invalid_input_error(f"{where}, columns", "something other than a table", "a table [columns]")
    _check_keys(data, columns, where)
    _check_values(data, where)
    file = data.get("file")
    if not isinstance(file, str) or not (path.parent / file).is_file():
        raise invalid_input_error(f"{where}, file", repr(file), "the name of a table beside it")
    form = data["form"]
    return TableMapping(
        file=path.parent / file,
        is_wide=form == "wide",
        convention=Convention(data["box"]),
        units=Units(data["units"]),
        canvas=_parse_canvas(data, where),
        licence=str(data.get("licence", "not stated")),
        delimiter=data.get("delimiter"),
        has_decimal_comma=data.get("decimal") == ",",
        columns={key: _parse_column(columns[key], key, form, where) for key in columns if key != "box"},
        box_columns=_parse_box_columns(columns["box"], form, where),
    )


def _check_keys(data: Mapping[str, Any], columns: Mapping[str, Any], where: str) -> None:
    for known, table, suffix in ((KEYS, data, ""), (COLUMNS, columns, ", [columns]")):
        if unknown := sorted(set(table) - known):
            raise invalid_input_error(f"{where}{suffix}", f"key {unknown[0]!r}", "one of " + ", ".join(sorted(known)))
    required = {"phrase", "box"} | ({"id"} if data.get("form") == "long" else set())
    if missing := sorted(required - set(columns)):
        raise invalid_input_error(f"{where}, [columns]", f"no {missing[0]!r}", "columns " + ", ".join(sorted(required)))


def _check_values(data: Mapping[str, Any], where: str) -> None:
    choices: dict[str, tuple[str, ...]] = {"form": FORMS, "box": tuple(Convention), "units": tuple(Units)}
    for key, allowed in choices.items():
        if data.get(key) not in allowed:
            raise invalid_input_error(f"{where}, {key}", repr(data.get(key)), "one of " + ", ".join(allowed))
    if data.get("decimal", ".") not in (".", ","):
        raise invalid_input_error(f"{where}, decimal", repr(data["decimal"]), '"." or ","')
    delimiter = data.get("delimiter")
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n'):
        raise invalid_input_error(f"{where}, delimiter", repr(delimiter), "one character")


def _parse_canvas(data: Mapping[str, Any], where: str) -> tuple[Any, Any]:
    canvas = data.get("canvas")
    if not isinstance(canvas, list) or len(canvas) != 2 or {type(side) for side in canvas} not in ({int}, {str}):
        raise invalid_input_error(f"{where}, canvas", repr(canvas), "width and height, or the names of two columns")
    return canvas[0], canvas[1]


def _parse_box_columns(value: Any, form: str, where: str) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if len(names) not in (1, 4):
        raise invalid_input_error(
            f"{where}, [columns], box", f"{len(names)} columns", "four, or one that has four numbers"
        )
    return tuple(_parse_column(name, "box", form, where) for name in names)


def _parse_column(value: Any, key: str, form: str, where: str) -> str:
    """Check the name of a column; in a wide table, the columns of an instance must contain {n} once."""
    if not isinstance(value, str) or not value:
        raise invalid_input_error(f"{where}, [columns], {key}", repr(value), "the name of a column")
    is_numbered = form == "wide" and key in ("phrase", "category", "box")
    if value.count(PLACEHOLDER) != int(is_numbered):
        expected = f"a name with {PLACEHOLDER} once, for its number" if is_numbered else f"a name without {PLACEHOLDER}"
        raise invalid_input_error(f"{where}, [columns], {key}", repr(value), expected)
    return value
