"""Answers of LayoutGPT (Feng et al. 2023): a prompt and the boxes that a language model proposed for it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite
from layoutmark.ingest.built_suite import built_suite
from layoutmark.ingest.files import field, json_of, listed, numbers, text
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.phrases import respelt
from layoutmark.ingest.scenes import Record, Scene, Thing, each, files_at, samples_of

LICENCE = "MIT (LayoutGPT)"


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read one file of answers, or all `*.json` of a folder.  Raises LayoutmarkError for what is no list of records."""
    ledger = Ledger()
    samples = samples_of(name, _records(files_at(source, "*.json", f"suite {name}, source")), LICENCE, ledger)
    return built_suite(samples, ledger)


def _records(paths: list[Path]) -> Iterator[Record]:
    for path in paths:
        for number, record in enumerate(listed(json_of(path), f"file {path.name}")):
            yield _name(record, number, path.stem if len(paths) > 1 else ""), partial(_scene, record, path.name)


def _name(record: Any, number: int, file: str) -> str:
    known = isinstance(record, dict) and "query_id" in record
    own = f"{record['query_id']}-{record.get('iter', 0)}" if known else str(number)
    return f"{file}-{own}" if file else own


def _scene(record: Any, file: str) -> Scene:
    objects = field(record, "object_list")
    if not isinstance(objects, list):
        raise Skip("object_list is no list")
    return Scene(text(field(record, "prompt"), "prompt"), each(_thing, objects), source=f"LayoutGPT {file}")


def _thing(item: Any) -> Thing:
    if not isinstance(item, list) or len(item) != 2:
        raise Skip("an object is not a label and a box")
    label = text(item[0], "label")
    x0, y0, x1, y1 = numbers(item[1], 4, "box")
    return Thing(respelt(label, []), (x0, y0, x1, y1), category=label)
