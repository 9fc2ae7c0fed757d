"""COCO's panoptic files: a JSON file of segments, and a PNG file per image with segment ids as colours.

Source of the format: https://cocodataset.org, "Data format", 4 (id = R + 256 G + 65536 B).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

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
from layoutmark.ingest.files import read_json
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.masks import make_point_and_scribble, mask_bounds
from layoutmark.ingest.references import skip_unreadable
from layoutmark.ingest.values import get_field, parse_integer, parse_numbers, parse_text, require_dict, require_list
from layoutmark.layout import Canvas, Instance, Mask

from .annotations import (
    AnnotatedImage,
    AnnotationFile,
    find_annotation_file,
    ledger_id,
    parse_id,
    read_captions_beside,
    read_categories,
    read_images,
)
from .stuff import category_phrase

PANOPTIC_PREFIX = "panoptic"
SegmentIds = npt.NDArray[np.int64]
"""Segment id of each pixel, shape (height, width)."""


def read_panoptic(source: Path, ledger: Ledger) -> AnnotationFile:
    """Read `panoptic_*.json` and the PNG files in the folder of the same name beside it.

    `source` is that file, or a folder with such a file in it or in its `annotations/`.  Segments and captions are
    closed in the ledger; images are left open.
    Raises LayoutmarkError for a file that cannot be read.
    """
    path = find_annotation_file(source, PANOPTIC_PREFIX)
    data = require_dict(read_json(path), f"file {path.name}")
    images = read_images(data, path, ledger)
    categories = read_categories(data, f"file {path.name}")
    records = require_list(data.get("annotations"), f"file {path.name}, annotations")
    boxes: list[Any] = [box for box in _iter_boxes(records) if is_four_numbers(box)]
    check_units(boxes, Units.PIXELS, f"file {path.name}, bbox")
    for number, record in enumerate(records):
        try:
            image = images.get(parse_id(get_field(record, "image_id")))
            if image is None:
                raise Skip("of an image that is not there")
            segments = get_field(record, "segments_info")
            if not isinstance(segments, list):
                raise Skip("segments_info is no list")
        except Skip as reason:
            ledger.skip("annotation", ledger_id(record, number), reason)
            continue
        ledger.keep("annotation", image.id)
        try:
            file_name = Path(parse_text(record.get("file_name"), "file_name")).name
            segment_ids: SegmentIds | Skip = _read_segment_ids(path.with_suffix("") / file_name)
        except Skip as reason:
            segment_ids = reason
        _read_segments(segments, image, segment_ids, categories, ledger)
    return AnnotationFile(list(images.values()), path, read_captions_beside(path, PANOPTIC_PREFIX, images, ledger))


def _iter_boxes(records: list[Any]) -> Iterator[Any]:
    for record in records:
        segments = record.get("segments_info") if isinstance(record, dict) else None
        yield from (s.get("bbox") for s in segments if isinstance(s, dict)) if isinstance(segments, list) else ()


def _read_segment_ids(path: Path) -> SegmentIds:
    with skip_unreadable("picture of its segments", "no picture of its segments"), Image.open(path) as opened:
        colours = np.asarray(opened.convert("RGB"), dtype=np.int64)
    return colours @ np.array([1, 256, 65536])


def _read_segments(
    segments: list[Any],
    image: AnnotatedImage,
    segment_ids: SegmentIds | Skip,
    categories: Mapping[str, str],
    ledger: Ledger,
) -> None:
    seen_ids = {instance.id for instance in image.instances}
    for number, segment in enumerate(segments):
        repairs: list[str] = []
        name = f"{image.id}/{ledger_id(segment, number)}"
        try:
            instance = _read_instance(segment, image.canvas, segment_ids, categories, repairs)
            if instance.id in seen_ids:
                raise Skip("id used before")
        except Skip as reason:
            ledger.skip("segment", name, reason)
            continue
        seen_ids.add(instance.id)
        image.instances.append(instance)
        ledger.keep("segment", name, repairs, [COVERS_CANVAS] if covers_canvas(instance.box) else [])


def _read_instance(
    segment: Any, canvas: Canvas, segment_ids: SegmentIds | Skip, categories: Mapping[str, str], repairs: list[str]
) -> Instance:
    category = categories.get(str(get_field(segment, "category_id")))
    if category is None:
        raise Skip("of a category that is not there")
    if segment.get("iscrowd"):
        raise Skip("a crowd is no single thing")
    number = parse_integer(get_field(segment, "id"), "id")
    phrase = category_phrase(category)
    try:
        mask = _segment_mask(segment_ids, number, canvas)
    except Skip as reason:
        repairs.append(f"mask left out: {reason}")
        values = parse_numbers(get_field(segment, "bbox"), 4, "bbox")
        box = clip_to_canvas(to_corners(values, Convention.XYWH, Units.PIXELS, canvas), repairs)
        return Instance(str(number), phrase, category, box)
    # The file's own box is the bounding box of the segment, rounded.
    box = clip_to_canvas(mask_bounds(mask), repairs)
    return Instance(str(number), phrase, category, box, mask, *make_point_and_scribble(mask))


def _segment_mask(segment_ids: SegmentIds | Skip, number: int, canvas: Canvas) -> Mask:
    if isinstance(segment_ids, Skip):
        raise segment_ids
    if segment_ids.shape != (canvas.height, canvas.width):
        raise Skip("picture of its segments has another size")
    is_segment = segment_ids == number
    if not is_segment.any():
        raise Skip("no pixel has its id")
    return Mask.from_array(is_segment)
