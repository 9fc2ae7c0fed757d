"""Any table of boxes, read row by row through `mapping.toml` (see `mapping.py`)."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite
from layoutmark.ingest.boxes import check_units, to_corners
from layoutmark.ingest.built_suite import assemble_suite
from layoutmark.ingest.files import find_files, iter_json_lines, iter_table_rows, read_json
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.phrases import make_prompt
from layoutmark.ingest.scenes import RawInstance, Record, Scene, build_samples
from layoutmark.ingest.values import parse_integer, parse_number, parse_text, require_list
from layoutmark.layout import Canvas

from .mapping import PLACEHOLDER, TableMapping, read_mapping

Row = Mapping[str, Any]
MAX_SIDE_PIXELS = 1 << 14
MADE_PROMPT_STRATA = {"prompt": "made of the phrases"}


@dataclass(slots=True)
class SceneRows:
    """The rows of one scene read so far."""

    prompt: str
    canvas: Canvas | Skip
    instances: list[RawInstance | Skip] = field(default_factory=list)
    problem: str = ""
    """Why the scene cannot be used."""


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read `mapping.toml`, or a folder with it, and the table that it names.

    The table is streamed, so its text may be larger than memory.
    Raises LayoutmarkError for an invalid mapping and for a table that cannot be read.
    """
    ledger = Ledger()
    (path, *_) = find_files(source, "mapping.toml", f"suite {name}, source")
    mapping = read_mapping(path)
    collector = SceneCollector(mapping)
    for line, row in _iter_rows(mapping):
        collector.add(line, row)
    boxes = [[value] for value in collector.largest_numbers]
    check_units(boxes, mapping.units, f"file {mapping.file.name}, boxes")
    for scene_id in collector.duplicate_ids:
        ledger.skip("scene", scene_id, "id used before")
    records = _iter_records(mapping, collector.scenes)
    return assemble_suite(build_samples(name, records, mapping.licence, ledger, "scene"), ledger)


class SceneCollector:
    """Groups the rows of a table by scene."""

    def __init__(self, mapping: TableMapping) -> None:
        self._mapping = mapping
        self.scenes: dict[str, SceneRows] = {}
        self.duplicate_ids: list[str] = []
        """Ids, with the line, of rows of a wide table whose scene has a row already."""
        self.largest_numbers = array("d")
        """The largest absolute number of each box."""

    def add(self, line: int, row: Row) -> None:
        """Add a row to its scene."""
        mapping = self._mapping
        row_id = row.get(mapping.columns.get("id", ""))
        has_id = row_id is not None and not (mapping.is_wide and str(row_id).strip() == "")
        scene_id = str(row_id) if has_id else str(line)
        prompt = str(row.get(mapping.columns.get("prompt", ""), ""))
        try:
            canvas: Canvas | Skip = _read_canvas(mapping, row)
        except Skip as reason:
            canvas = reason
        scene = self.scenes.get(scene_id)
        if scene is not None and mapping.is_wide:
            self.duplicate_ids.append(f"{scene_id} (line {line})")
            return
        if scene is None:
            scene = self.scenes[scene_id] = SceneRows(prompt, canvas)
        elif scene.prompt != prompt:
            scene.problem = "rows of one scene have different prompts"
        elif str(scene.canvas) != str(canvas):
            scene.problem = "rows of one scene have different canvases"
        self._add_instances(scene, row, canvas)

    def _add_instances(self, scene: SceneRows, row: Row, canvas: Canvas | Skip) -> None:
        mapping = self._mapping
        numbers = _instance_numbers(mapping.phrase_pattern, tuple(row)) if mapping.is_wide else (None,)
        for number in numbers:
            if number is not None and not str(row[_column_name(mapping.columns["phrase"], number)] or "").strip():
                continue
            try:
                scene.instances.append(self._read_instance(row, canvas, number))
            except Skip as reason:
                scene.instances.append(reason)

    def _read_instance(self, row: Row, canvas: Canvas | Skip, number: str | None) -> RawInstance:
        mapping = self._mapping
        phrase = parse_text(row.get(_column_name(mapping.columns["phrase"], number)), "phrase")
        has_category = "category" in mapping.columns
        category = row.get(_column_name(mapping.columns["category"], number)) if has_category else ""
        box = _parse_box(mapping, [row.get(_column_name(column, number)) for column in mapping.box_columns])
        self.largest_numbers.append(max(map(abs, box)))
        if isinstance(canvas, Skip):
            raise canvas
        return RawInstance(phrase, to_corners(box, mapping.convention, mapping.units, canvas), str(category or ""))


def _iter_rows(mapping: TableMapping) -> Iterator[tuple[int, Row]]:
    """Rows with their line, or with their position from 0 in a JSON list."""
    suffix = mapping.file.suffix.lower()
    if suffix in (".json", ".jsonl"):
        where = f"file {mapping.file.name}"
        is_jsonl = suffix == ".jsonl"
        rows = iter_json_lines(mapping.file) if is_jsonl else enumerate(require_list(read_json(mapping.file), where))
        for line, row in rows:
            yield line, row if isinstance(row, Mapping) else {}
        return
    required_columns = [mapping.columns[key] for key in ("id", "prompt") if key in mapping.columns]
    required_columns += [side for side in mapping.canvas if isinstance(side, str)]
    if not mapping.is_wide:
        required_columns += [mapping.columns["phrase"], *mapping.box_columns]
    pattern = mapping.phrase_pattern if mapping.is_wide else None
    yield from iter_table_rows(mapping.file, required_columns, delimiter=mapping.delimiter, column_pattern=pattern)


def _iter_records(mapping: TableMapping, scenes: Mapping[str, SceneRows]) -> Iterator[Record]:
    for scene_id, rows in scenes.items():
        yield scene_id, partial(_make_scene, mapping, rows, scene_id)


def _make_scene(mapping: TableMapping, rows: SceneRows, scene_id: str) -> Scene:
    if rows.problem:
        raise Skip(rows.problem)
    if isinstance(rows.canvas, Skip):
        raise rows.canvas
    has_prompt = "prompt" in mapping.columns
    phrases = [instance.phrase for instance in rows.instances if isinstance(instance, RawInstance)]
    if not has_prompt and not phrases:
        raise Skip("no usable instance")
    prompt = parse_text(rows.prompt, "prompt") if has_prompt else make_prompt(phrases)
    strata = {} if has_prompt else MADE_PROMPT_STRATA
    return Scene(prompt, rows.instances, rows.canvas, strata, f"{mapping.file.name}, {scene_id}")


@lru_cache(maxsize=64)
def _instance_numbers(phrase_pattern: Any, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Numbers of a wide row's instances as the column names have them, smallest first."""
    matches = (phrase_pattern.fullmatch(column) for column in columns)
    return tuple(sorted((match[1] for match in matches if match), key=lambda n: (int(n), n)))


def _parse_box(mapping: TableMapping, values: Any) -> list[float]:
    """Four numbers out of four fields, or out of one field that has them all."""
    if len(values) == 1:
        (values,) = values
        if isinstance(values, str):
            for mark in "[]();" if mapping.has_decimal_comma else "[]();,":
                values = values.replace(mark, " ")
            values = values.split()
    if not isinstance(values, list) or len(values) != 4:
        raise Skip("box is not 4 numbers")
    return [parse_number(_with_decimal_point(v) if mapping.has_decimal_comma else v, "box") for v in values]


def _with_decimal_point(value: Any) -> Any:
    """Text with a decimal comma turned into a point; text with both is unchanged, and not a number."""
    return value if not isinstance(value, str) or "." in value else value.replace(",", ".")


def _read_canvas(mapping: TableMapping, row: Row) -> Canvas:
    sides = [parse_integer(row.get(side) if isinstance(side, str) else side, "canvas") for side in mapping.canvas]
    if not all(0 < side <= MAX_SIDE_PIXELS for side in sides):
        raise Skip(f"canvas is not between 1 and {MAX_SIDE_PIXELS} pixels")
    return Canvas(*sides)


def _column_name(pattern: str, number: str | None) -> str:
    return pattern if number is None else pattern.replace(PLACEHOLDER, number)
