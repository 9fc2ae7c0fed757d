"""Ground truth and detections in COCO's JSON form, checked and renumbered so that pycocotools cannot misread them.

pycocotools takes annotation id 0 for "not matched", loses detections of images it does not know behind an assertion,
and reads the area of a detection off its box even where masks are compared.  Here images, categories and annotations
are numbered from 1, whatever their ids were; areas are those of what is compared.  Images and categories are numbered
in the order of their ids, numbers before text: where scores are tied between images the order counts, and that is
pycocotools' own.
Source of the form: cocodataset.org, "Data format" and "Results format".
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from layoutmark.errors import LayoutmarkError
from layoutmark.metrics.coco_masks import Unreadable, read_mask

IouType = Literal["bbox", "segm"]
Id = int | str
KINDS = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number", type(None): "nothing"}
"""What JSON calls the values that Python reads from it."""


@dataclass(frozen=True, slots=True, eq=False)
class CocoPair:
    """A checked pair of files.  `truth` and `found` are data sets in COCO's form with numbers from 1.

    The id of image, category or target number k is entry k - 1 of `images`, `categories` (with its name) or `targets`.
    Detection number k stood at place k - 1 of the list, or where `places` says, because detections of a category that
    the ground truth does not list are left out; `unlisted` counts them by category id.
    """

    iou_type: IouType
    truth: dict[str, Any]
    found: dict[str, Any]
    images: list[Id]
    categories: list[tuple[Id, str]]
    targets: list[Any]
    places: list[int]
    unlisted: dict[str, int]


def read_pair(truth: Path, found: Path, iou_type: IouType = "bbox") -> CocoPair:
    """Read and check both files.  Raises LayoutmarkError that names file, record and field of the first fault."""
    data, results = _read(truth), _read(found)
    if not isinstance(data, dict):
        raise _fault(truth.name, _kind(data), "an object with images, annotations and categories")
    if isinstance(results, dict):
        results = results.get("annotations")
    if not isinstance(results, list):
        raise _fault(found.name, _kind(results), "a list of detections, or an object whose annotations are one")
    for part in ("images", "annotations", "categories"):
        if not isinstance(data.get(part), list):
            raise _fault(f"{truth.name}, field {part!r}", _kind(data.get(part)), "a list")
    images = _numbered(data["images"], f"{truth.name}, images")
    categories = _numbered(data["categories"], f"{truth.name}, categories")
    by_id = {image["id"]: image for image in data["images"]}
    sizes = [(by_id[key].get("height"), by_id[key].get("width")) for key in images]
    reader = _Reader(iou_type, images, categories, sizes)
    targets = [
        reader.record(record, f"{truth.name}, annotations[{k}]", k + 1) for k, record in enumerate(data["annotations"])
    ]
    detections, places, unlisted = [], [], dict[str, int]()
    for k, record in enumerate(results):
        place = f"{found.name}, detection {k}"
        category = _id(_field(record, "category_id", place), place, "category_id")
        _lookup(images, _id(_field(record, "image_id", place), place, "image_id"), place, "image_id")
        if category not in categories:
            if (other := _retyped(category)) in categories:
                raise _mistyped(place, "category_id", category, other)
            unlisted[str(category)] = unlisted.get(str(category), 0) + 1
            continue
        score = _number(_field(record, "score", place), place, "score")
        places.append(k)
        detections.append({**reader.record(record, place, len(places), given_area=False), "score": score})
    shared = {
        "images": [{"id": k, "height": h, "width": w} for k, (h, w) in enumerate(sizes, start=1)],
        "categories": [{"id": k} for k in categories.values()],
    }
    names = {c["id"]: str(c.get("name", c["id"])) for c in data["categories"]}
    ids = [record.get("id") for record in data["annotations"]]
    return CocoPair(
        iou_type, {**shared, "annotations": targets}, {**shared, "annotations": detections},
        list(images), [(key, names[key]) for key in categories], ids, places, unlisted,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Reader:
    iou_type: IouType
    images: Mapping[Id, int]
    categories: Mapping[Id, int]
    sizes: Sequence[tuple[Any, Any]]

    def record(self, record: Any, place: str, number: int, *, given_area: bool = True) -> dict[str, Any]:
        """One annotation or detection with new numbers and what is compared; a given area counts for targets only."""
        ids = {
            name: _lookup(known, _id(_field(record, name, place), place, name), place, name)
            for name, known in (("image_id", self.images), ("category_id", self.categories))
        }
        crowd = record.get("iscrowd", 0)
        if crowd not in (0, 1):
            raise _fault(f"{place}, field 'iscrowd'", _short(crowd), "0 or 1")
        shape, area = (
            self._box(record, place) if self.iou_type == "bbox" else self._mask(record, place, ids["image_id"])
        )
        if given_area and record.get("area") is not None:
            area = _number(record["area"], place, "area")
        return {"id": number, **ids, **shape, "area": area, "iscrowd": int(crowd)}

    def _box(self, record: Mapping[str, Any], place: str) -> tuple[dict[str, Any], float]:
        box = _field(record, "bbox", place)
        if not isinstance(box, list) or len(box) != 4:
            raise _fault(f"{place}, field 'bbox'", _short(box), "four numbers: x, y, width, height in pixels")
        values = [_number(v, place, "bbox") for v in box]
        if values[2] < 0 or values[3] < 0:
            raise _fault(
                f"{place}, field 'bbox'", f"width {values[2]:g}, height {values[3]:g}",
                "x, y, width, height in pixels, sizes 0 or more", "Two corners? Write x, y, x1 - x0, y1 - y0.",
            )  # fmt: skip
        return {"bbox": values}, values[2] * values[3]

    def _mask(self, record: Mapping[str, Any], place: str, image: int) -> tuple[dict[str, Any], float]:
        from pycocotools import mask as masks

        try:
            rle = read_mask(_field(record, "segmentation", place), *self.sizes[image - 1])
        except Unreadable as error:
            raise _fault(f"{place}, field 'segmentation'", error.found, error.expected) from error
        return {"segmentation": rle}, float(masks.area(rle))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        found, do = error.strerror or str(error), "Give its path."
    except (ValueError, RecursionError) as error:
        found, do = str(error), "Correct the file."
    raise _fault(f"file {path.name!r}", found, "a JSON file in COCO's form", do)


def _numbered(records: Iterable[Any], place: str) -> dict[Id, int]:
    """Numbers from 1 by id, in the order of the ids."""
    found: set[Id] = set()
    for k, record in enumerate(records):
        here = f"{place}[{k}]"
        key = _id(_field(record, "id", here), here, "id")
        if key in found:
            raise _fault(f"{here}, field 'id'", f"{key!r} a second time", "every id once")
        found.add(key)
    ordered = sorted(found, key=lambda key: (isinstance(key, str), key))
    return {key: number for number, key in enumerate(ordered, start=1)}


def _id(value: Any, place: str, name: str) -> Id:
    """Whole numbers and text are ids; true, null and fractions are none, and 2.0 may be a number that lost digits."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _fault(f"{place}, field {name!r}", _short(value), "a whole number or text")
    return value


def _lookup(known: Mapping[Id, int], key: Id, place: str, name: str) -> int:
    if key in known:
        return known[key]
    if (other := _retyped(key)) in known:
        raise _mistyped(place, name, key, other)
    raise _fault(f"{place}, field {name!r}", _short(key), "an id that the ground truth lists")


def _mistyped(place: str, name: str, key: Id, other: Id) -> LayoutmarkError:
    return _fault(f"{place}, field {name!r}", repr(key), f"{other!r}, as the ground truth writes it")


def _retyped(key: Id) -> Id:
    """The id as the other of text and number."""
    if isinstance(key, int):
        return str(key)
    try:
        return int(key)
    except ValueError:
        return key


def _field(record: Any, name: str, place: str) -> Any:
    if not isinstance(record, dict):
        raise _fault(place, _kind(record), "an object")
    if name not in record:
        raise _fault(place, f"no field {name!r}", "one")
    return record[name]


def _number(value: Any, place: str, name: str) -> float:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:  # a whole number that no float holds
        pass
    raise _fault(f"{place}, field {name!r}", _short(value), "a finite number")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."


def _kind(value: Any) -> str:
    return KINDS.get(type(value), repr(value))


def _fault(what: str, found: str, expected: str, do: str = "Correct the file.") -> LayoutmarkError:
    return LayoutmarkError(what, found=found, expected=expected, do=do)
