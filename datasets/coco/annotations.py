"""COCO's annotation files as pictures with instances: https://cocodataset.org, "Data format".

Records of three kinds are read, and each is accounted for: images, annotations, captions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layoutmark.ingest.boxes import WHOLE, Convention, Units, check_units, corners, covers_all, placed
from layoutmark.ingest.files import field as value_of
from layoutmark.ingest.files import json_of, listed, mapped, numbers, refused, text, whole
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.masks import extent, marks, mask_of
from layoutmark.ingest.phrases import tidied
from layoutmark.layout import Box, Canvas, Instance

from .stuff import phrase_of

FOLDERS = (".", "annotations")
INSTANCES = "instances"
LARGEST_SIDE = 1 << 14
NO_LICENCE = "not stated in the file"


@dataclass(eq=False)
class Picture:
    """An image of the source with everything usable that is said of it; instances and captions in the file's order."""

    id: str
    canvas: Canvas
    licence: str
    url: str
    file: str
    """Name of its file of pixels."""
    captions: list[str] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Source:
    """What was read: pictures in the file's order, the file, and what a reader of the suite must know."""

    pictures: list[Picture]
    path: Path
    notes: tuple[str, ...]


def read(source: Path, ledger: Ledger) -> Source:
    """Read `instances_*.json` and, beside it, `captions_*.json` of the same split.

    `source` is the file of instances, or a folder that holds one, itself or in its `annotations/`.  Images are left
    open in the ledger; annotations and captions are closed.  Raises LayoutmarkError for a file that cannot be read.
    """
    path = file_of(source, INSTANCES)
    data = mapped(json_of(path), f"file {path.name}")
    pictures = pictures_of(data, path, ledger)
    _read_instances(data, pictures, f"file {path.name}", ledger)
    return Source(list(pictures.values()), path, notes_of(path, INSTANCES, pictures, ledger))


def file_of(source: Path, kind: str) -> Path:
    """The source itself, or its one file `KIND_*.json`.  Raises LayoutmarkError if there is none or several."""
    if source.is_file():
        return source
    found = [p for folder in FOLDERS for p in sorted((source / folder).glob(f"{kind}*.json"))]
    if len(found) != 1:
        names = ", ".join(p.name for p in found) or f"no {kind}_*.json in {source.name or source}"
        raise refused(
            "suite of COCO, source", names, f"one file {kind}_*.json, here or in annotations/",
            "Give the folder, or the file itself.",
        )  # fmt: skip
    return found[0]


def pictures_of(data: Mapping[str, Any], path: Path, ledger: Ledger) -> dict[str, Picture]:
    """The images that a file lists, by id; what is no image is skipped in the ledger."""
    licences = _licences(data)
    pictures: dict[str, Picture] = {}
    for number, record in enumerate(listed(data.get("images"), f"file {path.name}, images")):
        try:
            picture = _picture(record, licences)
            if picture.id in pictures:
                raise Skip("id used before")
            pictures[picture.id] = picture
        except Skip as reason:
            ledger.skip("image", id_of(record, number), reason)
    return pictures


def notes_of(path: Path, kind: str, pictures: Mapping[str, Picture], ledger: Ledger) -> tuple[str, ...]:
    """Give the pictures the captions that lie beside `path`; returns what a reader must know of both files."""
    notes = [f"{path.name}: sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"]
    captions = path.with_name(path.name.replace(kind, "captions"))
    if captions != path and captions.is_file():
        _read_captions(captions, pictures, ledger)
    else:
        notes.append(f"no {captions.name} beside it: prompts are made of category names")
    return tuple(notes)


def categories_of(data: Mapping[str, Any], place: str) -> dict[str, str]:
    """Category names by id as text."""
    records = listed(data.get("categories"), f"{place}, categories")
    return {str(one.get("id")): str(one.get("name")) for one in records if isinstance(one, Mapping)}


def _licences(data: Mapping[str, Any]) -> dict[str, str]:
    """Licence names by id as text; a file without the block has none."""
    listed_ones = data.get("licenses") or []
    return {str(one.get("id")): str(one.get("name")) for one in listed_ones if isinstance(one, Mapping)}


def _picture(record: Any, licences: Mapping[str, str]) -> Picture:
    size = [whole(value_of(record, key), key) for key in ("width", "height")]
    if not all(0 < side <= LARGEST_SIDE for side in size):
        raise Skip(f"size is not between 1 and {LARGEST_SIDE} pixels")
    licence = licences.get(str(record.get("license")), NO_LICENCE)
    url = record.get("flickr_url") or record.get("coco_url") or ""
    return Picture(
        name_of(value_of(record, "id")), Canvas(*size), licence, str(url), str(record.get("file_name") or "")
    )


def _read_instances(data: Mapping[str, Any], pictures: Mapping[str, Picture], place: str, ledger: Ledger) -> None:
    categories = categories_of(data, place)
    records = listed(data.get("annotations"), f"{place}, annotations")
    boxes = [r["bbox"] for r in records if isinstance(r, Mapping) and four_numbers(r.get("bbox"))]
    check_units(boxes, Units.PIXELS, f"{place}, bbox")
    seen: set[str] = set()
    for number, record in enumerate(records):
        repairs: list[str] = []
        try:
            picture = pictures.get(name_of(value_of(record, "image_id")))
            if picture is None:
                raise Skip("of an image that is not there")
            instance = _instance(record, picture.canvas, categories, repairs)
            if instance.id in seen:
                raise Skip("id used before")
        except Skip as reason:
            ledger.skip("annotation", id_of(record, number), reason)
            continue
        seen.add(instance.id)
        picture.instances.append(instance)
        ledger.keep("annotation", instance.id, repairs, [WHOLE] if covers_all(instance.box) else [])


def _instance(record: Any, canvas: Canvas, categories: Mapping[str, str], repairs: list[str]) -> Instance:
    if record.get("iscrowd"):
        raise Skip("a crowd is no single thing")
    category = categories.get(str(value_of(record, "category_id")))
    if category is None:
        raise Skip("of a category that is not there")
    mask = None
    if record.get("segmentation"):
        try:
            mask = mask_of(record["segmentation"], canvas)
        except Skip as reason:
            repairs.append(f"mask left out: {reason}")
    box: Box
    if "bbox" in record or mask is None:
        values = numbers(value_of(record, "bbox"), 4, "bbox")
        box = placed(corners(values, Convention.XYWH, Units.PIXELS, canvas), repairs)
    else:
        repairs.append("box taken from the mask")
        box = placed(extent(mask), repairs)
    point, scribble = marks(mask) if mask is not None else (None, None)
    return Instance(name_of(value_of(record, "id")), phrase_of(category), category, box, mask, point, scribble)


def _read_captions(path: Path, pictures: Mapping[str, Picture], ledger: Ledger) -> None:
    data = mapped(json_of(path), f"file {path.name}")
    for number, record in enumerate(listed(data.get("annotations"), f"file {path.name}, annotations")):
        repairs: list[str] = []
        try:
            picture = pictures.get(name_of(value_of(record, "image_id")))
            if picture is None:
                raise Skip("of an image that is not there")
            picture.captions.append(tidied(text(value_of(record, "caption"), "caption"), repairs, "stray blanks"))
        except Skip as reason:
            ledger.skip("caption", id_of(record, number), reason)
        else:
            ledger.keep("caption", id_of(record, number), repairs)


def name_of(value: Any) -> str:
    """An id as text: whole numbers of any size, or text that is not empty."""
    return text(value, "id") if isinstance(value, str) else str(whole(value, "id"))


def id_of(record: Any, number: int) -> str:
    """The source's own id for the ledger, else the record's position from 0."""
    own = record.get("id") if isinstance(record, Mapping) else None
    return str(own) if isinstance(own, int | str) else f"record {number}"


def four_numbers(value: Any) -> bool:
    """Whether a value is a list of four numbers that a float can hold."""
    # Written so that NaN fails too: what is no number says nothing of the units.
    return (
        isinstance(value, list) and len(value) == 4 and all(type(v) in (int, float) and abs(v) < 1e300 for v in value)
    )
