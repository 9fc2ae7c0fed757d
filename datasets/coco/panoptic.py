"""COCO's panoptic files: a JSON of segments, and beside it a PNG for each picture whose colours are segment ids.

Source of the form: https://cocodataset.org, "Data format", 4 (id = R + 256 G + 65536 B).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from layoutmark.ingest.boxes import WHOLE, Convention, Units, check_units, corners, covers_all, placed
from layoutmark.ingest.files import field as value_of
from layoutmark.ingest.files import json_of, listed, mapped, numbers, text, whole
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.masks import extent, marks
from layoutmark.ingest.references import decoded
from layoutmark.layout import Canvas, Instance, Mask

from .annotations import Picture, Source, categories_of, file_of, four_numbers, id_of, name_of, notes_of, pictures_of
from .stuff import phrase_of

PANOPTIC = "panoptic"
Ids = npt.NDArray[np.int64]


def read(source: Path, ledger: Ledger) -> Source:
    """Read `panoptic_*.json` and the PNG files of the folder of the same name beside it.

    `source` is that file, or a folder that holds it, itself or in its `annotations/`.  Images are left open in the
    ledger, segments and captions are closed.  Raises LayoutmarkError for a file that cannot be read.
    """
    path = file_of(source, PANOPTIC)
    data = mapped(json_of(path), f"file {path.name}")
    pictures = pictures_of(data, path, ledger)
    categories = categories_of(data, f"file {path.name}")
    records = listed(data.get("annotations"), f"file {path.name}, annotations")
    boxes: list[Any] = [box for box in _boxes(records) if four_numbers(box)]
    check_units(boxes, Units.PIXELS, f"file {path.name}, bbox")
    for number, record in enumerate(records):
        try:
            picture = pictures.get(name_of(value_of(record, "image_id")))
            if picture is None:
                raise Skip("of an image that is not there")
            segments = value_of(record, "segments_info")
            if not isinstance(segments, list):
                raise Skip("segments_info is no list")
        except Skip as reason:
            ledger.skip("annotation", id_of(record, number), reason)
            continue
        ledger.keep("annotation", picture.id)
        try:
            ids: Ids | Skip = _ids(path.with_suffix("") / Path(text(record.get("file_name"), "file_name")).name)
        except Skip as reason:
            ids = reason
        _read_segments(segments, picture, ids, categories, ledger)
    return Source(list(pictures.values()), path, notes_of(path, PANOPTIC, pictures, ledger))


def _boxes(records: list[Any]) -> Iterator[Any]:
    for record in records:
        segments = record.get("segments_info") if isinstance(record, dict) else None
        yield from (s.get("bbox") for s in segments if isinstance(s, dict)) if isinstance(segments, list) else ()


def _ids(path: Path) -> Ids:
    """Segment ids of a picture's pixels, (height, width)."""
    with decoded("picture of its segments", "no picture of its segments"), Image.open(path) as opened:
        colours = np.asarray(opened.convert("RGB"), dtype=np.int64)
    return colours @ np.array([1, 256, 65536])


def _read_segments(
    segments: list[Any], picture: Picture, ids: Ids | Skip, categories: Mapping[str, str], ledger: Ledger
) -> None:
    seen = {instance.id for instance in picture.instances}
    for number, segment in enumerate(segments):
        repairs: list[str] = []
        name = f"{picture.id}/{id_of(segment, number)}"
        try:
            instance = _instance(segment, picture.canvas, ids, categories, repairs)
            if instance.id in seen:
                raise Skip("id used before")
        except Skip as reason:
            ledger.skip("segment", name, reason)
            continue
        seen.add(instance.id)
        picture.instances.append(instance)
        ledger.keep("segment", name, repairs, [WHOLE] if covers_all(instance.box) else [])


def _instance(
    segment: Any, canvas: Canvas, ids: Ids | Skip, categories: Mapping[str, str], repairs: list[str]
) -> Instance:
    category = categories.get(str(value_of(segment, "category_id")))
    if category is None:
        raise Skip("of a category that is not there")
    if segment.get("iscrowd"):
        raise Skip("a crowd is no single thing")
    number = whole(value_of(segment, "id"), "id")
    phrase = phrase_of(category)
    try:
        mask = _mask(ids, number, canvas)
    except Skip as reason:
        repairs.append(f"mask left out: {reason}")
        values = numbers(value_of(segment, "bbox"), 4, "bbox")
        box = placed(corners(values, Convention.XYWH, Units.PIXELS, canvas), repairs)
        return Instance(str(number), phrase, category, box)
    # The box of a segment is its mask's extent; the file's own is that, rounded.
    return Instance(str(number), phrase, category, placed(extent(mask), repairs), mask, *marks(mask))


def _mask(ids: Ids | Skip, number: int, canvas: Canvas) -> Mask:
    if isinstance(ids, Skip):
        raise ids
    if ids.shape != (canvas.height, canvas.width):
        raise Skip("picture of its segments has another size")
    part = ids == number
    if not part.any():
        raise Skip("no pixel has its id")
    return Mask.from_array(part)
