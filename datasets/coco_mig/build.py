"""COCO-MIG (Zhou et al. 2024): prompts with a colour and a category in each phrase.

The file maps each prompt to a mapping from phrase to a box, x0, y0, x1, y1 in fractions of the canvas, or to a list of
boxes if the phrase occurs more than once.  The key `coco_id` is among the phrases.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite
from layoutmark.ingest.boxes import Convention, Units, check_units, is_four_numbers, to_corners
from layoutmark.ingest.built_suite import assemble_suite
from layoutmark.ingest.files import invalid_input_error, read_json, read_yaml
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.scenes import DEFAULT_CANVAS, RawInstance, Record, Scene, build_samples, read_each
from layoutmark.ingest.values import parse_numbers, parse_text, require_dict

LICENCE = "for non-commercial research (COCO-MIG); boxes CC-BY-4.0 (COCO Consortium)"
ID_KEY = "coco_id"
SUFFIXES = (".yaml", ".yml", ".json")


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read a YAML or JSON file, or the only `mig*` file in a folder.

    Raises LayoutmarkError if there is not exactly one such file, or if it cannot be read.
    """
    ledger = Ledger()
    path = _find_file(source, name)
    read = read_json if path.suffix.lower() == ".json" else read_yaml
    scenes = require_dict(read(path), f"file {path.name}")
    boxes = [box for record in scenes.values() for _, box in _pair_phrases_with_boxes(record) if is_four_numbers(box)]
    check_units(boxes, Units.FRACTIONS, f"file {path.name}, boxes")
    return assemble_suite(build_samples(name, _iter_records(scenes), LICENCE, ledger, "prompt"), ledger)


def _find_file(source: Path, name: str) -> Path:
    if source.is_file():
        return source
    paths = [path for path in sorted(source.glob("mig*")) if path.suffix.lower() in SUFFIXES]
    if len(paths) != 1:
        actual = ", ".join(path.name for path in paths) or f"no mig*.yaml in {source.name or source}"
        raise invalid_input_error(
            f"suite {name}, source", actual, "one file mig*.yaml or mig*.json", "Give --source the file itself."
        )
    return paths[0]


def _iter_records(scenes: dict[Any, Any]) -> Iterator[Record]:
    for number, (prompt, record) in enumerate(scenes.items()):
        yield number, partial(_read_scene, prompt, record)


def _read_scene(prompt: Any, record: Any) -> Scene:
    if not isinstance(record, dict):
        raise Skip("not an object")
    if not isinstance(prompt, str):
        raise Skip("prompt is no text")
    source = f"COCO image {record[ID_KEY]}" if isinstance(record.get(ID_KEY), str | int) else "COCO-MIG"
    return Scene(prompt, read_each(_read_instance, _pair_phrases_with_boxes(record)), DEFAULT_CANVAS, source=source)


def _pair_phrases_with_boxes(record: Any) -> list[tuple[Any, Any]]:
    """Each phrase with each of its boxes, in the file's order."""
    pairs = []
    for phrase, value in record.items() if isinstance(record, dict) else ():
        if phrase != ID_KEY:
            is_box_list = isinstance(value, list) and any(isinstance(item, list) for item in value)
            pairs += [(phrase, box) for box in (value if is_box_list else [value])]
    return pairs


def _read_instance(phrase_and_box: tuple[Any, Any]) -> RawInstance:
    phrase, box = phrase_and_box
    text = parse_text(phrase, "phrase")
    return RawInstance(text, to_corners(parse_numbers(box, 4, "box"), Convention.XYXY, Units.FRACTIONS, DEFAULT_CANVAS))
