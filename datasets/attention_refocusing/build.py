"""Layouts of Attention-Refocusing (Phung et al. 2023).

Each pickle maps prompts to names and boxes, x0, y0, x1, y1 in pixels of 512 x 512.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite
from layoutmark.ingest.boxes import Convention, Units, to_corners
from layoutmark.ingest.built_suite import assemble_suite
from layoutmark.ingest.files import find_files, load_plain_pickle
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.phrases import normalise_label
from layoutmark.ingest.scenes import DEFAULT_CANVAS, RawInstance, Record, Scene, build_samples, read_each
from layoutmark.ingest.values import parse_numbers, parse_text, require_dict

LICENCE = "MIT (Attention-Refocusing); prompts from HRS-Bench and DrawBench"


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read one file, or all `*.p` files in a folder.

    Raises LayoutmarkError for a pickle that contains anything but plain values.
    """
    ledger = Ledger()
    paths = find_files(source, "*.p", f"suite {name}, source")
    return assemble_suite(build_samples(name, _iter_records(paths), LICENCE, ledger), ledger)


def _iter_records(paths: list[Path]) -> Iterator[Record]:
    for path in paths:
        for number, (prompt, layout) in enumerate(require_dict(load_plain_pickle(path), f"file {path.name}").items()):
            yield f"{path.stem}-{number}", partial(_read_scene, prompt, layout, path.name)


def _read_scene(prompt: Any, layout: Any, file_name: str) -> Scene:
    if not isinstance(layout, list | tuple) or [isinstance(field, list | tuple) for field in layout] != [True, True]:
        raise Skip("not names and boxes")
    names, boxes = layout
    if len(names) != len(boxes):
        raise Skip("not as many boxes as names")
    instances = read_each(_read_instance, zip(names, boxes, strict=True))
    return Scene(
        parse_text(prompt, "prompt"),
        instances,
        strata={"kind": Path(file_name).stem},
        source=f"Attention-Refocusing {file_name}",
    )


def _read_instance(name_and_box: tuple[Any, Any]) -> RawInstance:
    name, box = name_and_box
    repairs: list[str] = []
    phrase = normalise_label(parse_text(name, "name"), repairs)
    corners = to_corners(parse_numbers(box, 4, "box"), Convention.XYXY, Units.PIXELS, DEFAULT_CANVAS)
    return RawInstance(phrase, corners, repairs=repairs)
