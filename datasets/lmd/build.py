"""Layouts of LLM-grounded Diffusion (Lian et al. 2023): answers in free text that begin with a list of objects."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite
from layoutmark.ingest.boxes import Convention, Units, corners
from layoutmark.ingest.built_suite import built_suite
from layoutmark.ingest.files import json_of, mapped, numbers, text
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.scenes import SQUARE, Record, Scene, Thing, each, files_at, samples_of

LICENCE = "MIT (LLM-grounded Diffusion)"
END = "\nBackground prompt:"
LONGEST = 20_000
"""Most characters of a list: a deeper one could exhaust the parser."""


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read a cache of answers.  Raises LayoutmarkError if it is not one JSON object."""
    ledger = Ledger()
    (path, *_) = files_at(source, "cache_*.json", f"suite {name}, source")
    samples = samples_of(name, _records(path), LICENCE, ledger, "answer")
    return built_suite(samples, ledger)


def _records(path: Path) -> Iterator[Record]:
    for number, (prompt, answers) in enumerate(mapped(json_of(path), f"file {path.name}").items()):
        for attempt, answer in enumerate(answers if isinstance(answers, list) else [answers]):
            yield f"{number}-{attempt}", partial(_scene, prompt, answer, path.name)


def _scene(prompt: str, answer: Any, file: str) -> Scene:
    written = text(answer, "answer").partition(END)[0].strip()
    if len(written) > LONGEST:
        raise Skip(f"list of more than {LONGEST} characters")
    try:
        objects = ast.literal_eval(written)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise Skip("answer does not begin with a list") from error
    if not isinstance(objects, list):
        raise Skip("answer does not begin with a list")
    return Scene(prompt, each(_thing, objects), source=f"LMD {file}")


def _thing(item: Any) -> Thing:
    if not isinstance(item, list | tuple) or len(item) != 2:
        raise Skip("an object is not a phrase and a box")
    box = numbers(item[1], 4, "box")
    return Thing(text(item[0], "phrase"), corners(box, Convention.XYWH, Units.PIXELS, SQUARE))
