"""Layouts of LLM-grounded Diffusion (Lian et al. 2023): answers in free text that begin with a list of objects.

Boxes are x, y, width, height in pixels of 512 x 512.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite
from layoutmark.ingest.boxes import Convention, Units, to_corners
from layoutmark.ingest.built_suite import assemble_suite
from layoutmark.ingest.files import find_files, read_json
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.scenes import DEFAULT_CANVAS, RawInstance, Record, Scene, build_samples, read_each
from layoutmark.ingest.values import parse_numbers, parse_text, require_dict

LICENCE = "MIT (LLM-grounded Diffusion)"
LIST_TERMINATOR = "\nBackground prompt:"
MAX_LIST_CHARACTERS = 20_000
"""A longer list could be nested so deeply that it exhausts the parser."""


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read a cache of answers, or the first `cache_*.json` in a folder.

    Raises LayoutmarkError if the file is not one JSON object.
    """
    ledger = Ledger()
    (path, *_) = find_files(source, "cache_*.json", f"suite {name}, source")
    samples = build_samples(name, _iter_records(path), LICENCE, ledger, "answer")
    return assemble_suite(samples, ledger)


def _iter_records(path: Path) -> Iterator[Record]:
    for number, (prompt, answers) in enumerate(require_dict(read_json(path), f"file {path.name}").items()):
        for attempt, answer in enumerate(answers if isinstance(answers, list) else [answers]):
            yield f"{number}-{attempt}", partial(_read_scene, prompt, answer, path.name)


def _read_scene(prompt: str, answer: Any, file_name: str) -> Scene:
    list_text = parse_text(answer, "answer").partition(LIST_TERMINATOR)[0].strip()
    if len(list_text) > MAX_LIST_CHARACTERS:
        raise Skip(f"list of more than {MAX_LIST_CHARACTERS} characters")
    try:
        objects = ast.literal_eval(list_text)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise Skip("answer does not begin with a list") from error
    if not isinstance(objects, list):
        raise Skip("answer does not begin with a list")
    return Scene(prompt, read_each(_read_instance, objects), source=f"LMD {file_name}")


def _read_instance(item: Any) -> RawInstance:
    if not isinstance(item, list | tuple) or len(item) != 2:
        raise Skip("an object is not a phrase and a box")
    box = parse_numbers(item[1], 4, "box")
    return RawInstance(parse_text(item[0], "phrase"), to_corners(box, Convention.XYWH, Units.PIXELS, DEFAULT_CANVAS))
