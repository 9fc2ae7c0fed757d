"""Any table of boxes, read row by row through `mapping.toml` (see `mapping.py`)."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite
from layoutmark.ingest.boxes import check_units, corners
from layoutmark.ingest.built_suite import built_suite
from layoutmark.ingest.files import json_lines, json_of, listed, number, table_rows, text, whole
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.phrases import sentence
from layoutmark.ingest.scenes import Record, Scene, Thing, files_at, samples_of
from layoutmark.layout import Canvas

from .mapping import PLACE, Mapped, read_mapping

Row = Mapping[str, Any]
LARGEST = 1 << 14
MADE = {"prompt": "made of the phrases"}


@dataclass(slots=True)
class Held:
    """What the rows of one scene said so far."""

    prompt: str
    canvas: Canvas | Skip
    things: list[Thing | Skip] = field(default_factory=list)
    problem: str = ""


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read `mapping.toml` (or a folder with it) and the table it names.

    Rows are taken up one by one, so that a table may be larger than memory has room for as text.
    Raises LayoutmarkError for a key or column that is unknown or missing, and for a table that cannot be read.
    """
    ledger = Ledger()
    (path, *_) = files_at(source, "mapping.toml", f"suite {name}, source")
    mapped = read_mapping(path)
    scenes: dict[str, Held] = {}
    repeated: list[str] = []
    largest = array("d")
    for line, row in _rows(mapped):
        _take(mapped, line, row, scenes, repeated, largest)
    check_units([[value] for value in largest], mapped.units, f"file {mapped.file.name}, boxes")
    for own in repeated:
        ledger.skip("scene", own, "id used before")
    return built_suite(samples_of(name, _records(mapped, scenes), mapped.licence, ledger, "scene"), ledger)


def _rows(mapped: Mapped) -> Iterator[tuple[int, Row]]:
    """Rows with their line, or their place from 0 in a JSON list."""
    kind = mapped.file.suffix.lower()
    if kind in (".json", ".jsonl"):
        where = f"file {mapped.file.name}"
        lines = json_lines(mapped.file) if kind == ".jsonl" else enumerate(listed(json_of(mapped.file), where))
        for n, row in lines:
            yield n, row if isinstance(row, Mapping) else {}
        return
    needs = [mapped.columns[key] for key in ("id", "prompt") if key in mapped.columns]
    needs += [side for side in mapped.canvas if isinstance(side, str)]
    if not mapped.wide:
        needs += [mapped.columns["phrase"], *mapped.boxes]
    pattern = mapped.numbered if mapped.wide else None
    yield from table_rows(mapped.file, needs, delimiter=mapped.delimiter, pattern=pattern)


def _take(
    mapped: Mapped, line: int, row: Row, scenes: dict[str, Held], repeated: list[str], largest: array[float]
) -> None:
    """Put a row into its scene."""
    own = row.get(mapped.columns.get("id", ""))
    name = str(line) if own is None or (mapped.wide and str(own).strip() == "") else str(own)
    prompt = str(row.get(mapped.columns.get("prompt", ""), ""))
    try:
        canvas: Canvas | Skip = _canvas(mapped, row)
    except Skip as reason:
        canvas = reason
    held = scenes.get(name)
    if held is not None and mapped.wide:
        repeated.append(f"{name} (line {line})")
        return
    if held is None:
        held = scenes[name] = Held(prompt, canvas)
    elif held.prompt != prompt:
        held.problem = "rows of one scene have different prompts"
    elif not _alike(held.canvas, canvas):
        held.problem = "rows of one scene have different canvases"
    for n in _numbered(mapped.numbered, tuple(row)) if mapped.wide else (None,):
        if n is not None and not str(row[_at(mapped.columns["phrase"], n)] or "").strip():
            continue
        try:
            held.things.append(_thing(mapped, canvas, row, n, largest))
        except Skip as reason:
            held.things.append(reason)


def _records(mapped: Mapped, scenes: Mapping[str, Held]) -> Iterator[Record]:
    for name, held in scenes.items():
        yield name, partial(_scene, mapped, held, name)


def _scene(mapped: Mapped, held: Held, name: str) -> Scene:
    if held.problem:
        raise Skip(held.problem)
    if isinstance(held.canvas, Skip):
        raise held.canvas
    made = "prompt" not in mapped.columns
    phrases = [thing.phrase for thing in held.things if isinstance(thing, Thing)]
    if made and not phrases:
        raise Skip("no usable instance")
    prompt = sentence(phrases) if made else text(held.prompt, "prompt")
    strata = MADE if made else {}
    return Scene(prompt, held.things, held.canvas, strata, f"{mapped.file.name}, {name}")


@lru_cache(maxsize=64)
def _numbered(pattern: Any, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Numbers of a wide row's things as their columns write them, smallest first; empty phrases are no things."""
    found = (pattern.fullmatch(column) for column in columns)
    return tuple(sorted((match[1] for match in found if match), key=lambda n: (int(n), n)))


def _thing(mapped: Mapped, canvas: Canvas | Skip, row: Row, n: str | None, largest: array[float]) -> Thing:
    phrase = text(row.get(_at(mapped.columns["phrase"], n)), "phrase")
    category = row.get(_at(mapped.columns["category"], n)) if "category" in mapped.columns else ""
    values = _four(mapped, [row.get(_at(column, n)) for column in mapped.boxes])
    largest.append(max(map(abs, values)))
    if isinstance(canvas, Skip):
        raise canvas
    return Thing(phrase, corners(values, mapped.convention, mapped.units, canvas), str(category or ""))


def _four(mapped: Mapped, found: Any) -> list[float]:
    if len(found) == 1:
        (found,) = found
        if isinstance(found, str):
            for mark in "[]();" if mapped.comma else "[]();,":
                found = found.replace(mark, " ")
            found = found.split()
    if not isinstance(found, list) or len(found) != 4:
        raise Skip("box is not 4 numbers")
    return [number(_pointed(v) if mapped.comma and isinstance(v, str) else v, "box") for v in found]


def _pointed(value: str) -> str:
    """A number written with a decimal comma; one with a point too is left as it is, and is none."""
    return value if "." in value else value.replace(",", ".")


def _canvas(mapped: Mapped, row: Row) -> Canvas:
    sides = [whole(row.get(side) if isinstance(side, str) else side, "canvas") for side in mapped.canvas]
    if not all(0 < side <= LARGEST for side in sides):
        raise Skip(f"canvas is not between 1 and {LARGEST} pixels")
    return Canvas(*sides)


def _alike(one: Canvas | Skip, other: Canvas | Skip) -> bool:
    return str(one) == str(other)


def _at(column: str, n: str | None) -> str:
    return column if n is None else column.replace(PLACE, n)
