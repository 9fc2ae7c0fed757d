"""Layouts of Attention-Refocusing (Phung et al. 2023): pickles of prompt to names and boxes in pixels of 512 x 512."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite
from layoutmark.ingest.boxes import Convention, Units, corners
from layoutmark.ingest.built_suite import built_suite
from layoutmark.ingest.files import mapped, numbers, plain_pickle, text
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.phrases import respelt
from layoutmark.ingest.scenes import SQUARE, Record, Scene, Thing, each, files_at, samples_of

LICENCE = "MIT (Attention-Refocusing); prompts from HRS-Bench and DrawBench"


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read one file, or all `*.p` of a folder.  Raises LayoutmarkError for a pickle with anything but plain values."""
    ledger = Ledger()
    samples = samples_of(name, _records(files_at(source, "*.p", f"suite {name}, source")), LICENCE, ledger)
    return built_suite(samples, ledger)


def _records(paths: list[Path]) -> Iterator[Record]:
    for path in paths:
        for number, (prompt, layout) in enumerate(mapped(plain_pickle(path), f"file {path.name}").items()):
            yield f"{path.stem}-{number}", partial(_scene, prompt, layout, path.name)


def _scene(prompt: Any, layout: Any, file: str) -> Scene:
    if not isinstance(layout, list | tuple) or [isinstance(part, list | tuple) for part in layout] != [True, True]:
        raise Skip("not names and boxes")
    names, boxes = layout
    if len(names) != len(boxes):
        raise Skip("not as many boxes as names")
    things = each(_thing, zip(names, boxes, strict=True))
    return Scene(
        text(prompt, "prompt"), things, strata={"kind": Path(file).stem}, source=f"Attention-Refocusing {file}"
    )


def _thing(item: tuple[Any, Any]) -> Thing:
    name, box = item
    repairs: list[str] = []
    phrase = respelt(text(name, "name"), repairs)
    return Thing(phrase, corners(numbers(box, 4, "box"), Convention.XYXY, Units.PIXELS, SQUARE), repairs=repairs)
