"""Any table of boxes, read through `mapping.toml`: which column is what, and in which convention boxes are written.

file = "layouts.csv"            # .csv, .tsv, or .json with a list of objects
form = "long"                   # long: a row a box; wide: a row a scene, columns repeated by number
box = "xywh"                    # xyxy, xywh, cxcywh, xxyy
units = "pixels"                # or fractions
canvas = [512, 512]             # or columns: canvas = ["width", "height"]
licence = "CC-BY-4.0"

[columns]
id = "scene"                    # of a scene; wide tables may leave it out
prompt = "caption"
phrase = "object"               # wide: "object_{n}"
category = "class"              # may be left out
box = ["x", "y", "w", "h"]      # wide: ["x_{n}", ...]; or one column with four numbers
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from layoutmark.door import BuiltSuite
from layoutmark.door.boxes import Convention, Units, check_units, corners
from layoutmark.door.built import built_suite
from layoutmark.door.ledger import Ledger, Skip
from layoutmark.door.reading import json_of, listed, number, refused, table_rows, text, text_of, whole
from layoutmark.door.scenes import Record, Scene, Thing, each, files_at, samples_of
from layoutmark.layout import Canvas

Row = Mapping[str, Any]
PLACE = "{n}"
KEYS = {"file", "form", "box", "units", "canvas", "licence", "columns"}
COLUMNS = {"id", "prompt", "phrase", "category", "box"}
LARGEST = 1 << 14


@dataclass(frozen=True)
class Mapped:
    """A mapping file, checked."""

    file: Path
    wide: bool
    convention: Convention
    units: Units
    canvas: tuple[Any, Any]
    licence: str
    columns: Mapping[str, Any]

    def box_columns(self, n: int | None) -> list[str]:
        """Columns of a box: four, or one that holds all four numbers; `n` is its number in a wide table."""
        names = self.columns["box"]
        return [_at(name, n) for name in (names if isinstance(names, list) else [names])]


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read `mapping.toml` (or a folder with it) and the table it names.

    Raises LayoutmarkError for a key or column that is unknown or missing, and for a table that cannot be read.
    """
    ledger = Ledger()
    (path, *_) = files_at(source, "mapping.toml", f"suite {name}, source")
    mapped = _mapping(path)
    rows = list(_rows(mapped))
    boxes = [values for _, row in rows for values in _numbers(mapped, row)]
    check_units(boxes, mapped.units, f"file {mapped.file.name}, boxes")
    samples = samples_of(name, _records(mapped, rows), mapped.licence, ledger, "scene")
    return built_suite(samples, ledger)


def _mapping(path: Path) -> Mapped:
    try:
        data = tomllib.loads(text_of(path))
    except tomllib.TOMLDecodeError as error:
        raise refused(f"file {path.name}", str(error), "TOML") from error
    columns = data.get("columns", {})
    for known, given, where in ((KEYS, data, ""), (COLUMNS, columns, ", [columns]")):
        if unknown := sorted(set(given) - known):
            raise refused(f"file {path.name}{where}", f"key {unknown[0]!r}", "one of " + ", ".join(sorted(known)))
    needed = {"prompt", "phrase", "box"} | ({"id"} if data.get("form") == "long" else set())
    if missing := sorted(needed - set(columns)):
        raise refused(f"file {path.name}, [columns]", f"no {missing[0]!r}", "columns " + ", ".join(sorted(needed)))
    choices = {"form": ("long", "wide"), "box": tuple(Convention), "units": tuple(Units)}
    for key, allowed in choices.items():
        if data.get(key) not in allowed:
            raise refused(f"file {path.name}, {key}", repr(data.get(key)), "one of " + ", ".join(allowed))
    canvas = data.get("canvas")
    if not isinstance(canvas, list) or len(canvas) != 2:
        raise refused(f"file {path.name}, canvas", repr(canvas), "width and height, or the names of two columns")
    return Mapped(
        path.parent / str(data.get("file")), data["form"] == "wide", Convention(data["box"]), Units(data["units"]),
        (canvas[0], canvas[1]), str(data.get("licence", "not stated")), columns,
    )  # fmt: skip


def _rows(mapped: Mapped) -> Iterator[tuple[int, Row]]:
    """Rows with their line, or their place from 0 in a JSON list."""
    if mapped.file.suffix.lower() == ".json":
        rows = listed(json_of(mapped.file), f"file {mapped.file.name}")
        yield from ((n, row if isinstance(row, Mapping) else {}) for n, row in enumerate(rows))
        return
    first = 1 if mapped.wide else None
    needs = [mapped.columns["prompt"], _at(mapped.columns["phrase"], first), *mapped.box_columns(first)]
    yield from table_rows(mapped.file, needs)


def _records(mapped: Mapped, rows: list[tuple[int, Row]]) -> Iterator[Record]:
    scenes: dict[str, list[Row]] = {}
    for line, row in rows:
        own = row.get(mapped.columns.get("id", ""))
        name = str(line) if own is None or (mapped.wide and "id" not in mapped.columns) else str(own)
        scenes.setdefault(name if not mapped.wide or name not in scenes else f"{name} (line {line})", []).append(row)
    for name, held in scenes.items():
        yield name, partial(_scene, mapped, held, name)


def _scene(mapped: Mapped, rows: list[Row], name: str) -> Scene:
    prompts = {str(row.get(mapped.columns["prompt"], "")) for row in rows}
    if len(prompts) > 1:
        raise Skip("rows of one scene have different prompts")
    canvas = _canvas(mapped, rows[0])
    items = [(row, n) for row in rows for n in (_filled(mapped, row) if mapped.wide else [None])]
    things = each(partial(_thing, mapped, canvas), items)
    return Scene(text(prompts.pop(), "prompt"), things, canvas, source=f"{mapped.file.name}, {name}")


def _filled(mapped: Mapped, row: Row) -> list[int]:
    """Numbers of a wide row's things: columns are counted from 1 while they exist, empty phrases are no things."""
    found: list[int] = []
    for n in count(1):
        column = _at(mapped.columns["phrase"], n)
        if column not in row:
            return found
        if str(row[column]).strip():
            found.append(n)
    raise AssertionError


def _thing(mapped: Mapped, canvas: Canvas, item: tuple[Row, int | None]) -> Thing:
    row, n = item
    phrase = text(row.get(_at(mapped.columns["phrase"], n)), "phrase")
    category = row.get(_at(mapped.columns["category"], n)) if "category" in mapped.columns else ""
    values = [number(v, "box") for v in _four(row, mapped.box_columns(n))]
    return Thing(phrase, corners(values, mapped.convention, mapped.units, canvas), str(category or ""))


def _four(row: Row, columns: list[str]) -> list[Any]:
    found: Any = [row.get(c) for c in columns]
    if len(columns) == 1:
        found = found[0].replace(",", " ").split() if isinstance(found[0], str) else found[0]
    if not isinstance(found, list) or len(found) != 4:
        raise Skip("box is not 4 numbers")
    return found


def _numbers(mapped: Mapped, row: Row) -> Iterator[list[float]]:
    """Boxes of a row as numbers, for the check of units; what is no number says nothing."""
    for n in _filled(mapped, row) if mapped.wide else [None]:
        try:
            yield [number(v, "box") for v in _four(row, mapped.box_columns(n))]
        except Skip:
            continue


def _canvas(mapped: Mapped, row: Row) -> Canvas:
    sides = [whole(row.get(side) if isinstance(side, str) else side, "canvas") for side in mapped.canvas]
    if not all(0 < side <= LARGEST for side in sides):
        raise Skip(f"canvas is not between 1 and {LARGEST} pixels")
    return Canvas(*sides)


def _at(column: Any, n: int | None) -> str:
    return str(column) if n is None else str(column).replace(PLACE, str(n))
