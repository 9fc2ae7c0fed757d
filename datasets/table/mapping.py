"""`mapping.toml`: which column of a table is what, and in which convention its boxes are written.

file = "layouts.csv"            # .csv, .tsv, .json with a list of objects, or .jsonl with one a line
form = "long"                   # long: a row a box; wide: a row a scene, columns repeated by number
box = "xywh"                    # xyxy, xywh, cxcywh, xxyy
units = "pixels"                # fractions, percent
canvas = [512, 512]             # or columns: canvas = ["width", "height"]
licence = "CC-BY-4.0"           # may be left out
delimiter = ";"                 # of a table in text; comma, or tab in .tsv, where left out
decimal = ","                   # mark of decimals in numbers written as text; a point where left out

[columns]
id = "scene"                    # of a scene; wide tables may leave it out
prompt = "caption"              # may be left out: prompts are then made of the phrases
phrase = "object"               # wide: "object_{n}", where {n} is any number, 1 and 01 alike
category = "class"              # may be left out
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
from layoutmark.ingest.files import refused, text_of

PLACE = "{n}"
KEYS = {"file", "form", "box", "units", "canvas", "licence", "delimiter", "decimal", "columns"}
COLUMNS = {"id", "prompt", "phrase", "category", "box"}
FORMS = ("long", "wide")


@dataclass(frozen=True)
class Mapped:
    """A mapping file, checked."""

    file: Path
    wide: bool
    convention: Convention
    units: Units
    canvas: tuple[Any, Any]
    licence: str
    delimiter: str | None
    comma: bool
    """Whether decimals are written with a comma."""
    columns: Mapping[str, str]
    boxes: tuple[str, ...]
    """Columns of a box: four, or one that holds all four numbers."""

    @cached_property
    def numbered(self) -> re.Pattern[str]:
        """What the phrase column of a wide table's thing looks like; its group is the thing's number as written."""
        before, _, after = self.columns["phrase"].partition(PLACE)
        return re.compile(rf"{re.escape(before)}(\d+){re.escape(after)}")


def read_mapping(path: Path) -> Mapped:
    """Read a mapping file.  Raises LayoutmarkError naming the key for what is unknown, missing or not meant so."""
    place = f"file {path.name}"
    try:
        data = tomllib.loads(text_of(path))
    except tomllib.TOMLDecodeError as error:
        raise refused(place, str(error), "TOML") from error
    columns = data.get("columns", {})
    if not isinstance(columns, dict):
        raise refused(f"{place}, columns", "no table", "a table [columns]")
    for known, given, where in ((KEYS, data, ""), (COLUMNS, columns, ", [columns]")):
        if unknown := sorted(set(given) - known):
            raise refused(f"{place}{where}", f"key {unknown[0]!r}", "one of " + ", ".join(sorted(known)))
    needed = {"phrase", "box"} | ({"id"} if data.get("form") == "long" else set())
    if missing := sorted(needed - set(columns)):
        raise refused(f"{place}, [columns]", f"no {missing[0]!r}", "columns " + ", ".join(sorted(needed)))
    choices: dict[str, tuple[str, ...]] = {"form": FORMS, "box": tuple(Convention), "units": tuple(Units)}
    for key, allowed in choices.items():
        if data.get(key) not in allowed:
            raise refused(f"{place}, {key}", repr(data.get(key)), "one of " + ", ".join(allowed))
    if data.get("decimal", ".") not in (".", ","):
        raise refused(f"{place}, decimal", repr(data["decimal"]), '"." or ","')
    delimiter = data.get("delimiter")
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n'):
        raise refused(f"{place}, delimiter", repr(delimiter), "one character")
    file = data.get("file")
    if not isinstance(file, str) or not (path.parent / file).is_file():
        raise refused(f"{place}, file", repr(file), "the name of a table beside it")
    return Mapped(
        path.parent / file, data["form"] == "wide", Convention(data["box"]), Units(data["units"]),
        _canvas(data, place), str(data.get("licence", "not stated")), delimiter, data.get("decimal") == ",",
        {name: _column(columns[name], name, data["form"], place) for name in columns if name != "box"},
        _boxes(columns["box"], data["form"], place),
    )  # fmt: skip


def _canvas(data: Mapping[str, Any], place: str) -> tuple[Any, Any]:
    canvas = data.get("canvas")
    if not isinstance(canvas, list) or len(canvas) != 2 or {type(side) for side in canvas} not in ({int}, {str}):
        raise refused(f"{place}, canvas", repr(canvas), "width and height, or the names of two columns")
    return canvas[0], canvas[1]


def _boxes(value: Any, form: str, place: str) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if len(names) not in (1, 4):
        raise refused(f"{place}, [columns], box", f"{len(names)} columns", "four, or one that holds four numbers")
    return tuple(_column(name, "box", form, place) for name in names)


def _column(value: Any, key: str, form: str, place: str) -> str:
    """The name of a column; in a wide table those of things hold {n} once."""
    if not isinstance(value, str) or not value:
        raise refused(f"{place}, [columns], {key}", repr(value), "the name of a column")
    wanted = int(form == "wide" and key in ("phrase", "category", "box"))
    if value.count(PLACE) != wanted:
        said = f"a name with {PLACE} once, for its number" if wanted else f"a name without {PLACE}"
        raise refused(f"{place}, [columns], {key}", repr(value), said)
    return value
