"""Demo scenes of InstanceDiffusion (Wang et al. 2024): one per file, with a phrase for each box or mask.

Boxes are x, y, width, height in pixels of the canvas that the file states.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from layoutmark.api import BuiltSuite
from layoutmark.ingest.boxes import Convention, Units, to_corners
from layoutmark.ingest.built_suite import assemble_suite
from layoutmark.ingest.files import find_files, read_json
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.masks import decode_mask
from layoutmark.ingest.scenes import RawInstance, Record, Scene, build_samples, read_each
from layoutmark.ingest.values import get_field, parse_integer, parse_numbers, parse_text
from layoutmark.layout import Canvas

LICENCE = "Apache-2.0 (InstanceDiffusion)"
MAX_SIDE_PIXELS = 1 << 14


def build_suite(name: str, source: Path) -> BuiltSuite:
    """Read one scene, or all `demo_*.json` files in a folder.  Raises LayoutmarkError for invalid JSON."""
    ledger = Ledger()
    records = _iter_records(find_files(source, "demo_*.json", f"suite {name}, source"))
    samples = build_samples(name, records, LICENCE, ledger, "scene")
    return assemble_suite(samples, ledger)


def _iter_records(paths: list[Path]) -> Iterator[Record]:
    for path in paths:
        yield path.stem.removeprefix("demo_"), partial(_read_scene, read_json(path), path.name)


def _read_scene(record: Any, file_name: str) -> Scene:
    width, height = (parse_integer(get_field(record, key), key) for key in ("width", "height"))
    if not (0 < width <= MAX_SIDE_PIXELS and 0 < height <= MAX_SIDE_PIXELS):
        raise Skip(f"canvas is not between 1 and {MAX_SIDE_PIXELS} pixels")
    annotations = get_field(record, "annos")
    if not isinstance(annotations, list):
        raise Skip("annos is no list")
    canvas = Canvas(width, height)
    instances = read_each(partial(_read_instance, canvas), annotations)
    return Scene(
        parse_text(get_field(record, "caption"), "caption"), instances, canvas, source=f"InstanceDiffusion {file_name}"
    )


def _read_instance(canvas: Canvas, record: Any) -> RawInstance:
    phrase = str(get_field(record, "caption") or "")
    category = str(record.get("category_name") or "")
    segmentation = record.get("mask")
    mask = decode_mask(segmentation, canvas) if segmentation else None
    box = None
    if "bbox" in record:
        box = to_corners(parse_numbers(record["bbox"], 4, "bbox"), Convention.XYWH, Units.PIXELS, canvas)
    point = None
    if record.get("point"):
        x, y = parse_numbers(record["point"], 2, "point")
        point = (x / canvas.width, y / canvas.height)
    return RawInstance(phrase if phrase.strip() else category, box, category, mask, point)
