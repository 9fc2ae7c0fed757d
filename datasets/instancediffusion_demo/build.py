"""Demo scenes of InstanceDiffusion (Wang et al. 2024): one a file, boxes and masks in pixels, a phrase for each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite
from layoutmark.ingest.boxes import Convention, Units, corners
from layoutmark.ingest.built_suite import built_suite
from layoutmark.ingest.files import field, json_of, numbers, text, whole
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.masks import mask_of
from layoutmark.ingest.scenes import Record, Scene, Thing, each, files_at, samples_of
from layoutmark.layout import Canvas

LICENCE = "Apache-2.0 (InstanceDiffusion)"
LARGEST = 1 << 14


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read one scene, or all `demo_*.json` of a folder.  Raises LayoutmarkError for a file that is no JSON."""
    ledger = Ledger()
    records = _records(files_at(source, "demo_*.json", f"suite {name}, source"))
    samples = samples_of(name, records, LICENCE, ledger, "scene")
    return built_suite(samples, ledger)


def _records(paths: list[Path]) -> Iterator[Record]:
    for path in paths:
        yield path.stem.removeprefix("demo_"), partial(_scene, json_of(path), path.name)


def _scene(record: Any, file: str) -> Scene:
    width, height = (whole(field(record, key), key) for key in ("width", "height"))
    if not (0 < width <= LARGEST and 0 < height <= LARGEST):
        raise Skip(f"canvas is not between 1 and {LARGEST} pixels")
    annotations = field(record, "annos")
    if not isinstance(annotations, list):
        raise Skip("annos is no list")
    canvas = Canvas(width, height)
    things = each(partial(_thing, canvas), annotations)
    return Scene(text(field(record, "caption"), "caption"), things, canvas, source=f"InstanceDiffusion {file}")


def _thing(canvas: Canvas, record: Any) -> Thing:
    phrase = str(field(record, "caption") or "")
    category = str(record.get("category_name") or "")
    segmentation = record.get("mask")
    mask = mask_of(segmentation, canvas) if segmentation else None
    box = None
    if "bbox" in record:
        box = corners(numbers(record["bbox"], 4, "bbox"), Convention.XYWH, Units.PIXELS, canvas)
    point = None
    if record.get("point"):
        x, y = numbers(record["point"], 2, "point")
        point = (x / canvas.width, y / canvas.height)
    return Thing(phrase if phrase.strip() else category, box, category, mask, point)
