"""COCO-MIG (Zhou et al. 2024): prompts whose phrases name colour and thing, each with boxes in fractions.

The form is a mapping from prompt to a mapping from phrase to x0, y0, x1, y1, or to a list of such boxes where a phrase
is used more than once; `coco_id` stands among the phrases.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite
from layoutmark.ingest.boxes import Convention, Units, check_units, corners
from layoutmark.ingest.built_suite import built_suite
from layoutmark.ingest.files import json_of, mapped, numbers, refused, text, yaml_of
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.scenes import SQUARE, Record, Scene, Thing, each, samples_of

LICENCE = "for non-commercial research (COCO-MIG); boxes CC-BY-4.0 (COCO Consortium)"
ID = "coco_id"
SUFFIXES = (".yaml", ".yml", ".json")


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read a YAML or JSON file, or the one `mig*` of a folder.  Raises LayoutmarkError for what cannot be read."""
    ledger = Ledger()
    path = _file(source, name)
    records = mapped((json_of if path.suffix.lower() == ".json" else yaml_of)(path), f"file {path.name}")
    boxes = [box for record in records.values() for _, box in _pairs(record) if _four(box)]
    check_units(boxes, Units.FRACTIONS, f"file {path.name}, boxes")
    return built_suite(samples_of(name, _records(records), LICENCE, ledger, "prompt"), ledger)


def _file(source: Path, name: str) -> Path:
    if source.is_file():
        return source
    found = [path for path in sorted(source.glob("mig*")) if path.suffix.lower() in SUFFIXES]
    if len(found) != 1:
        told = ", ".join(path.name for path in found) or f"no mig*.yaml in {source.name or source}"
        raise refused(f"suite {name}, source", told, "one file mig*.yaml or mig*.json", "Give the file itself.")
    return found[0]


def _records(records: dict[Any, Any]) -> Iterator[Record]:
    for number, (prompt, record) in enumerate(records.items()):
        yield number, partial(_scene, prompt, record)


def _scene(prompt: Any, record: Any) -> Scene:
    if not isinstance(record, dict):
        raise Skip("not an object")
    if not isinstance(prompt, str):
        raise Skip("prompt is no text")
    source = f"COCO image {record[ID]}" if isinstance(record.get(ID), str | int) else "COCO-MIG"
    return Scene(prompt, each(_thing, _pairs(record)), SQUARE, source=source)


def _pairs(record: Any) -> list[tuple[Any, Any]]:
    """Every phrase with each of its boxes, in the file's order."""
    found = []
    for phrase, value in record.items() if isinstance(record, dict) else ():
        if phrase != ID:
            several = isinstance(value, list) and any(isinstance(one, list) for one in value)
            found += [(phrase, box) for box in (value if several else [value])]
    return found


def _thing(pair: tuple[Any, Any]) -> Thing:
    phrase, box = pair
    return Thing(text(phrase, "phrase"), corners(numbers(box, 4, "box"), Convention.XYXY, Units.FRACTIONS, SQUARE))


def _four(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(type(v) in (int, float) and abs(v) < 1e300 for v in box)
