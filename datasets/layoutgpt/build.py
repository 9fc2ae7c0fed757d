"""Answers of LayoutGPT (Feng et al. 2023): prompts with the boxes that a language model proposed for them.

Boxes are x0, y0, x1, y1 in fractions of the canvas.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite
from layoutmark.ingest.built_suite import assemble_suite
from layoutmark.ingest.files import find_files, read_json
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.phrases import normalise_label
from layoutmark.ingest.scenes import RawInstance, Record, Scene, build_samples, read_each
from layoutmark.ingest.values import get_field, parse_numbers, parse_text, require_list

LICENCE = "MIT (LayoutGPT)"


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read one file of answers, or all `*.json` files in a folder.

    Raises LayoutmarkError for a file that is not a list of records.
    """
    ledger = Ledger()
    paths = find_files(source, "*.json", f"suite {name}, source")
    return assemble_suite(build_samples(name, _iter_records(paths), LICENCE, ledger), ledger)


def _iter_records(paths: list[Path]) -> Iterator[Record]:
    for path in paths:
        for number, record in enumerate(require_list(read_json(path), f"file {path.name}")):
            prefix = f"{path.stem}-" if len(paths) > 1 else ""
            yield prefix + _record_id(record, number), partial(_read_scene, record, path.name)


def _record_id(record: Any, number: int) -> str:
    if isinstance(record, dict) and "query_id" in record:
        return f"{record['query_id']}-{record.get('iter', 0)}"
    return str(number)


def _read_scene(record: Any, file_name: str) -> Scene:
    objects = get_field(record, "object_list")
    if not isinstance(objects, list):
        raise Skip("object_list is no list")
    return Scene(
        parse_text(get_field(record, "prompt"), "prompt"),
        read_each(_read_instance, objects),
        source=f"LayoutGPT {file_name}",
    )


def _read_instance(item: Any) -> RawInstance:
    if not isinstance(item, list) or len(item) != 2:
        raise Skip("an object is not a label and a box")
    label = parse_text(item[0], "label")
    x0, y0, x1, y1 = parse_numbers(item[1], 4, "box")
    return RawInstance(normalise_label(label, []), (x0, y0, x1, y1), category=label)
