"""COCO's annotation files as images with instances: https://cocodataset.org, "Data format".

Three kinds of records are read, and each is accounted for: images, annotations, captions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layoutmark.ingest.boxes import (
    COVERS_CANVAS,
    Convention,
    Units,
    check_units,
    clip_to_canvas,
    covers_canvas,
    is_four_numbers,
    to_corners,
)
from layoutmark.ingest.files import invalid_input_error, read_json
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.masks import decode_mask, make_point_and_scribble, mask_bounds
from layoutmark.ingest.phrases import collapse_whitespace
from layoutmark.ingest.values import get_field, parse_integer, parse_numbers, parse_text, require_dict, require_list
from layoutmark.layout import Box, Canvas, Instance

from .stuff import category_phrase

FOLDERS = (".", "annotations")
INSTANCES_PREFIX = "instances"
MAX_SIDE_PIXELS = 1 << 14
UNKNOWN_LICENCE = "not stated in the file"


@dataclass(eq=False)
class AnnotatedImage:
    """An image with its usable annotations; instances and captions in the file's order."""

    id: str
    canvas: Canvas
    licence: str
    url: str
    file_name: str
    captions: list[str] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class AnnotationFile:
    """The content of an annotation file: images in the file's order, and notes for the suite's readers."""

    images: list[AnnotatedImage]
    path: Path
    notes: tuple[str, ...]


def read_instances(source: Path, ledger: Ledger) -> AnnotationFile:
    """Read `instances_*.json` and, beside it, `captions_*.json` of the same split.

    `source` is the file of instances, or a folder with such a file in it or in its `annotations/`.  Annotations and
    captions are closed in the ledger; images are left open.
    Raises LayoutmarkError for a file that cannot be read.
    """
    path = find_annotation_file(source, INSTANCES_PREFIX)
    data = require_dict(read_json(path), f"file {path.name}")
    images = read_images(data, path, ledger)
    _read_annotations(data, images, f"file {path.name}", ledger)
    return AnnotationFile(list(images.values()), path, read_captions_beside(path, INSTANCES_PREFIX, images, ledger))


def find_annotation_file(source: Path, prefix: str) -> Path:
    """`source` itself if it is a file, else its only file `PREFIX_*.json`.

    Raises LayoutmarkError if there is not exactly one.
    """
    if source.is_file():
        return source
    paths = [path for folder in FOLDERS for path in sorted((source / folder).glob(f"{prefix}*.json"))]
    if len(paths) != 1:
        actual = ", ".join(path.name for path in paths) or f"no {prefix}_*.json in {source.name or source}"
        raise invalid_input_error(
            "suite of COCO, source", actual, f"one file {prefix}_*.json, here or in annotations/",
            "Give --source the folder, or the file itself.",
        )  # fmt: skip
    return paths[0]


def read_images(data: Mapping[str, Any], path: Path, ledger: Ledger) -> dict[str, AnnotatedImage]:
    """The images listed in the content of a file, by id; unusable records are skipped in the ledger."""
    licences = _read_licences(data)
    images: dict[str, AnnotatedImage] = {}
    for number, record in enumerate(require_list(data.get("images"), f"file {path.name}, images")):
        try:
            image = _read_image(record, licences)
            if image.id in images:
                raise Skip("id used before")
            images[image.id] = image
        except Skip as reason:
            ledger.skip("image", ledger_id(record, number), reason)
    return images


def read_captions_beside(
    path: Path, prefix: str, images: Mapping[str, AnnotatedImage], ledger: Ledger
) -> tuple[str, ...]:
    """Add the captions from the file beside `path`, if there is one, to the images; returns notes on both files."""
    notes = [f"{path.name}: sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"]
    captions_path = path.with_name(path.name.replace(prefix, "captions"))
    if captions_path != path and captions_path.is_file():
        _read_captions(captions_path, images, ledger)
    else:
        notes.append(f"no {captions_path.name} beside it: prompts are made of category names")
    return tuple(notes)


def read_categories(data: Mapping[str, Any], where: str) -> dict[str, str]:
    """Category names by id, both as text."""
    records = require_list(data.get("categories"), f"{where}, categories")
    return {str(record.get("id")): str(record.get("name")) for record in records if isinstance(record, Mapping)}


def parse_id(value: Any) -> str:
    """An id as text: an integer of any size, or text that is not empty.  Raises Skip for anything else."""
    return parse_text(value, "id") if isinstance(value, str) else str(parse_integer(value, "id"))


def ledger_id(record: Any, number: int) -> str:
    """The record's own id, or its position from 0 if it has none, for the ledger."""
    record_id = record.get("id") if isinstance(record, Mapping) else None
    return str(record_id) if isinstance(record_id, int | str) else f"record {number}"


def _read_licences(data: Mapping[str, Any]) -> dict[str, str]:
    """Licence names by id, both as text; empty if the file does not list licences."""
    records = data.get("licenses") or []
    return {str(record.get("id")): str(record.get("name")) for record in records if isinstance(record, Mapping)}


def _read_image(record: Any, licences: Mapping[str, str]) -> AnnotatedImage:
    size = [parse_integer(get_field(record, key), key) for key in ("width", "height")]
    if not all(0 < side <= MAX_SIDE_PIXELS for side in size):
        raise Skip(f"size is not between 1 and {MAX_SIDE_PIXELS} pixels")
    licence = licences.get(str(record.get("license")), UNKNOWN_LICENCE)
    url = record.get("flickr_url") or record.get("coco_url") or ""
    image_id = parse_id(get_field(record, "id"))
    return AnnotatedImage(image_id, Canvas(*size), licence, str(url), str(record.get("file_name") or ""))


def _read_annotations(
    data: Mapping[str, Any], images: Mapping[str, AnnotatedImage], where: str, ledger: Ledger
) -> None:
    categories = read_categories(data, where)
    records = require_list(data.get("annotations"), f"{where}, annotations")
    boxes = [r["bbox"] for r in records if isinstance(r, Mapping) and is_four_numbers(r.get("bbox"))]
    check_units(boxes, Units.PIXELS, f"{where}, bbox")
    seen_ids: set[str] = set()
    for number, record in enumerate(records):
        repairs: list[str] = []
        try:
            image = images.get(parse_id(get_field(record, "image_id")))
            if image is None:
                raise Skip("of an image that is not there")
            instance = _read_instance(record, image.canvas, categories, repairs)
            if instance.id in seen_ids:
                raise Skip("id used before")
        except Skip as reason:
            ledger.skip("annotation", ledger_id(record, number), reason)
            continue
        seen_ids.add(instance.id)
        image.instances.append(instance)
        ledger.keep("annotation", instance.id, repairs, [COVERS_CANVAS] if covers_canvas(instance.box) else [])


def _read_instance(record: Any, canvas: Canvas, categories: Mapping[str, str], repairs: list[str]) -> Instance:
    if record.get("iscrowd"):
        raise Skip("a crowd is no single thing")
    category = categories.get(str(get_field(record, "category_id")))
    if category is None:
        raise Skip("of a category that is not there")
    mask = None
    if record.get("segmentation"):
        try:
            mask = decode_mask(record["segmentation"], canvas)
        except Skip as reason:
            repairs.append(f"mask left out: {reason}")
    box: Box
    if "bbox" in record or mask is None:
        values = parse_numbers(get_field(record, "bbox"), 4, "bbox")
        box = clip_to_canvas(to_corners(values, Convention.XYWH, Units.PIXELS, canvas), repairs)
    else:
        repairs.append("box taken from the mask")
        box = clip_to_canvas(mask_bounds(mask), repairs)
    point, scribble = make_point_and_scribble(mask) if mask is not None else (None, None)
    instance_id = parse_id(get_field(record, "id"))
    return Instance(instance_id, category_phrase(category), category, box, mask, point, scribble)


def _read_captions(path: Path, images: Mapping[str, AnnotatedImage], ledger: Ledger) -> None:
    data = require_dict(read_json(path), f"file {path.name}")
    for number, record in enumerate(require_list(data.get("annotations"), f"file {path.name}, annotations")):
        repairs: list[str] = []
        try:
            image = images.get(parse_id(get_field(record, "image_id")))
            if image is None:
                raise Skip("of an image that is not there")
            caption = parse_text(get_field(record, "caption"), "caption")
            image.captions.append(collapse_whitespace(caption, repairs, "stray blanks"))
        except Skip as reason:
            ledger.skip("caption", ledger_id(record, number), reason)
        else:
            ledger.keep("caption", ledger_id(record, number), repairs)
