"""Ground truth and detections in COCO's JSON format, validated and renumbered so that pycocotools cannot misread them.

pycocotools takes annotation id 0 for "not matched", fails with an assertion on detections of unknown images, and takes
the area of a detection from its box even when masks are compared. Here images, categories and annotations are numbered
from 1, regardless of their ids, and areas are those of what is compared. Images and categories are numbered in the
order of their ids, numbers before strings: with scores tied between images the order matters, and this is pycocotools'
own. Source of the format: cocodataset.org, "Data format" and "Results format".
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from layoutmark.errors import LayoutmarkError
from layoutmark.metrics.coco_masks import InvalidMask, read_mask

IouType = Literal["bbox", "segm"]
Id = int | str
JSON_TYPE_NAMES = {
    dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number", type(None): "null",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class CocoPair:
    """A validated pair of files; `ground_truth` and `detections` are COCO data sets numbered from 1.

    The original id of image, category or target number k is entry k - 1 of `images`, `categories` (with its name) or
    `targets`. Detection number k was at position `detection_positions[k - 1]` of the list: detections of a category
    that the ground truth does not list are left out, and `unlisted_categories` counts them by category id.
    """

    iou_type: IouType
    ground_truth: dict[str, Any]
    detections: dict[str, Any]
    images: list[Id]
    categories: list[tuple[Id, str]]
    targets: list[Any]
    detection_positions: list[int]
    unlisted_categories: dict[str, int]


def read_pair(ground_truth: Path, detections: Path, iou_type: IouType = "bbox") -> CocoPair:
    """Read and validate both files.

    Args:
        ground_truth: A COCO data set (images, annotations, categories).
        detections: A list of detections, or an object whose `annotations` are one.
        iou_type: Whether boxes (``bbox``) or masks (``segm``) will be compared.

    Raises LayoutmarkError naming the file, record and field of the first error.

    >>> read_pair(Path("gt.json"), Path("dt.json"))
    Traceback (most recent call last):
    layoutmark.errors.LayoutmarkError: file 'gt.json': found No such file or directory; \
expected a JSON file in COCO's format. Give its path.
    """
    data, results = _read_json(ground_truth), _read_json(detections)
    if not isinstance(data, dict):
        raise _error(ground_truth.name, _type_name(data), "an object with images, annotations and categories")
    if isinstance(results, dict):
        results = results.get("annotations")
    if not isinstance(results, list):
        raise _error(
            detections.name, _type_name(results), "a list of detections, or an object whose annotations are one"
        )
    for field in ("images", "annotations", "categories"):
        if not isinstance(data.get(field), list):
            raise _error(f"{ground_truth.name}, field {field!r}", _type_name(data.get(field)), "a list")
    images = _number_ids(data["images"], f"{ground_truth.name}, images")
    categories = _number_ids(data["categories"], f"{ground_truth.name}, categories")
    image_by_id = {image["id"]: image for image in data["images"]}
    sizes = [(image_by_id[key].get("height"), image_by_id[key].get("width")) for key in images]
    reader = _RecordReader(iou_type, images, categories, sizes)
    target_records = [
        reader.read(record, f"{ground_truth.name}, annotations[{k}]", k + 1)
        for k, record in enumerate(data["annotations"])
    ]
    detection_records, positions, unlisted = [], [], dict[str, int]()
    for k, record in enumerate(results):
        where = f"{detections.name}, detection {k}"
        category = _check_id(_field(record, "category_id", where), where, "category_id")
        _lookup(images, _check_id(_field(record, "image_id", where), where, "image_id"), where, "image_id")
        if category not in categories:
            if (other := _other_type(category)) in categories:
                raise _type_error(where, "category_id", category, other)
            unlisted[str(category)] = unlisted.get(str(category), 0) + 1
            continue
        score = _check_number(_field(record, "score", where), where, "score")
        positions.append(k)
        detection_records.append({**reader.read(record, where, len(positions), use_area_field=False), "score": score})
    shared = {
        "images": [{"id": k, "height": h, "width": w} for k, (h, w) in enumerate(sizes, start=1)],
        "categories": [{"id": k} for k in categories.values()],
    }
    names = {c["id"]: str(c.get("name", c["id"])) for c in data["categories"]}
    target_ids = [record.get("id") for record in data["annotations"]]
    return CocoPair(
        iou_type, {**shared, "annotations": target_records}, {**shared, "annotations": detection_records},
        list(images), [(key, names[key]) for key in categories], target_ids, positions, unlisted,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _RecordReader:
    iou_type: IouType
    images: Mapping[Id, int]
    categories: Mapping[Id, int]
    sizes: Sequence[tuple[Any, Any]]

    def read(self, record: Any, where: str, number: int, *, use_area_field: bool = True) -> dict[str, Any]:
        """Renumber one annotation or detection, keeping only what is compared.

        The `area` field counts for targets only.
        """
        ids = {
            name: _lookup(numbers, _check_id(_field(record, name, where), where, name), where, name)
            for name, numbers in (("image_id", self.images), ("category_id", self.categories))
        }
        is_crowd = record.get("iscrowd", 0)
        if is_crowd not in (0, 1):
            raise _error(f"{where}, field 'iscrowd'", _shorten(is_crowd), "0 or 1")
        shape, area = (
            self._read_box(record, where)
            if self.iou_type == "bbox"
            else self._read_mask(record, where, ids["image_id"])
        )
        if use_area_field and record.get("area") is not None:
            area = _check_number(record["area"], where, "area")
        return {"id": number, **ids, **shape, "area": area, "iscrowd": int(is_crowd)}

    def _read_box(self, record: Mapping[str, Any], where: str) -> tuple[dict[str, Any], float]:
        box = _field(record, "bbox", where)
        if not isinstance(box, list) or len(box) != 4:
            raise _error(f"{where}, field 'bbox'", _shorten(box), "four numbers: x, y, width, height in pixels")
        values = [_check_number(v, where, "bbox") for v in box]
        if values[2] < 0 or values[3] < 0:
            raise _error(
                f"{where}, field 'bbox'", f"width {values[2]:g}, height {values[3]:g}",
                "x, y, width, height in pixels, sizes 0 or more", "Two corners? Write x, y, x1 - x0, y1 - y0.",
            )  # fmt: skip
        return {"bbox": values}, values[2] * values[3]

    def _read_mask(self, record: Mapping[str, Any], where: str, image: int) -> tuple[dict[str, Any], float]:
        from pycocotools import mask as masks

        try:
            rle = read_mask(_field(record, "segmentation", where), *self.sizes[image - 1])
        except InvalidMask as error:
            raise _error(f"{where}, field 'segmentation'", error.found, error.expected) from error
        return {"segmentation": rle}, float(masks.area(rle))


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        actual, do = error.strerror or str(error), "Give its path."
    except (ValueError, RecursionError) as error:
        actual, do = str(error), "Correct the file."
    raise _error(f"file {path.name!r}", actual, "a JSON file in COCO's format", do)


def _number_ids(records: Iterable[Any], where: str) -> dict[Id, int]:
    """Numbers from 1 by id, in the order of the ids."""
    ids: set[Id] = set()
    for k, record in enumerate(records):
        where_record = f"{where}[{k}]"
        key = _check_id(_field(record, "id", where_record), where_record, "id")
        if key in ids:
            raise _error(f"{where_record}, field 'id'", f"{key!r} a second time", "every id once")
        ids.add(key)
    ordered = sorted(ids, key=lambda key: (isinstance(key, str), key))
    return {key: number for number, key in enumerate(ordered, start=1)}


def _check_id(value: Any, where: str, name: str) -> Id:
    """Accept integers and strings; true, null and fractions are not ids, and 2.0 may be a number that lost digits."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _error(f"{where}, field {name!r}", _shorten(value), "a whole number or text")
    return value


def _lookup(numbers: Mapping[Id, int], key: Id, where: str, name: str) -> int:
    if key in numbers:
        return numbers[key]
    if (other := _other_type(key)) in numbers:
        raise _type_error(where, name, key, other)
    raise _error(f"{where}, field {name!r}", _shorten(key), "an id that the ground truth lists")


def _type_error(where: str, name: str, key: Id, other: Id) -> LayoutmarkError:
    return _error(f"{where}, field {name!r}", repr(key), f"{other!r}, as the ground truth writes it")


def _other_type(key: Id) -> Id:
    """A number id as text, or a text id as a number if it is one."""
    if isinstance(key, int):
        return str(key)
    try:
        return int(key)
    except ValueError:
        return key


def _field(record: Any, name: str, where: str) -> Any:
    if not isinstance(record, dict):
        raise _error(where, _type_name(record), "an object")
    if name not in record:
        raise _error(where, f"no field {name!r}", "one")
    return record[name]


def _check_number(value: Any, where: str, name: str) -> float:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:  # an integer too large for a float
        pass
    raise _error(f"{where}, field {name!r}", _shorten(value), "a finite number")


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."


def _type_name(value: Any) -> str:
    return JSON_TYPE_NAMES.get(type(value), repr(value))


def _error(what: str, found: str, expected: str, do: str = "Correct the file.") -> LayoutmarkError:
    return LayoutmarkError(what, found=found, expected=expected, do=do)
