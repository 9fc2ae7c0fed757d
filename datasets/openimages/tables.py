"""The tables of Open Images V4 to V7, read row by row: classes, boxes, images, sizes, verified labels.

Source of the formats: storage.googleapis.com/openimages/web, "Data formats".  Boxes are fractions of the image in the
order XMin, XMax, YMin, YMax; a flag is 1, 0, or -1 for unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from layoutmark.ingest.boxes import (
    COVERS_CANVAS,
    Convention,
    Units,
    check_units,
    clip_to_canvas,
    covers_canvas,
    to_corners,
)
from layoutmark.ingest.files import invalid_input_error, iter_table_rows
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.phrases import collapse_whitespace
from layoutmark.ingest.scenes import DEFAULT_CANVAS
from layoutmark.ingest.values import parse_integer, parse_number
from layoutmark.layout import Box, Canvas

CORNER_COLUMNS = ("XMin", "XMax", "YMin", "YMax")
FLAG_ATTRIBUTES = {"IsOccluded": "occluded", "IsTruncated": "truncated", "IsDepiction": "depiction"}
"""Attribute of an instance ("yes") by column."""
GROUP_COLUMN, INSIDE_COLUMN = "IsGroupOf", "IsInside"
CLASS_HEADERS = ({"label", "name"}, {"id", "name"}, {"LabelName", "DisplayName"})
UNITS_CHECK_ROWS = 5_000
"""How many boxes are checked for being fractions."""
ROTATED = "picture is to be turned, and its boxes may not be"
ROTATION_UNKNOWN = "rotation not stated"
NO_SIZES_NOTE = "size not known: boxes are placed on a square"


@dataclass(frozen=True, slots=True)
class OpenImagesBox:
    """One box and its class."""

    line: int
    """Line in the table of boxes."""
    label: str
    box: Box
    attributes: Mapping[str, str]


@dataclass(slots=True)
class OpenImage:
    """One image as the tables describe it."""

    id: str
    boxes: list[OpenImagesBox] = field(default_factory=list)
    canvas: Canvas = DEFAULT_CANVAS
    has_size: bool = False
    """Whether a table of sizes states the canvas."""
    flags: list[str] = field(default_factory=list)
    licence: str = "CC-BY-2.0, as listed by Open Images"
    url: str = ""
    present_labels: set[str] = field(default_factory=set)
    absent_labels: set[str] = field(default_factory=set)
    """Labels that people verified to be in the image, or not to be in it."""
    problem: str = ""
    """Why the image cannot be used."""


def read_classes(path: Path) -> dict[str, str]:
    """Class names by label, in lower case.  The file has no header line, or one of three that are in use."""
    names: dict[str, str] = {}
    for line, row in iter_table_rows(path, (), header=("label", "name")):
        if line == 1 and set(row.values()) in CLASS_HEADERS:
            continue
        names[row["label"].strip()] = collapse_whitespace(row["name"], []).lower()
    if not names:
        raise invalid_input_error(f"file {path.name}", "no class", "lines LABEL,NAME")
    return names


def read_boxes(path: Path, class_names: Mapping[str, str], ledger: Ledger) -> dict[str, OpenImage]:
    """Images by id, in the order of their first box, with the usable boxes; each row is closed in the ledger."""
    check_units(list(_iter_first_boxes(path)), Units.FRACTIONS, f"file {path.name}, boxes")
    images: dict[str, OpenImage] = {}
    seen: set[tuple[str, str, Box]] = set()
    for line, row in iter_table_rows(path, ("ImageID", "LabelName", *CORNER_COLUMNS)):
        image = images.setdefault(row["ImageID"], OpenImage(row["ImageID"]))
        repairs: list[str] = []
        try:
            box = _read_box(line, row, class_names, repairs)
            if (image.id, box.label, box.box) in seen:
                raise Skip("the same box twice")
        except Skip as reason:
            ledger.skip("row", f"{path.name} line {line}", reason)
            if row["LabelName"] in class_names and row.get("Confidence", "1") == "1":
                image.present_labels.add(row["LabelName"])
            continue
        seen.add((image.id, box.label, box.box))
        image.boxes.append(box)
        image.present_labels.add(box.label)
        ledger.keep("row", f"{path.name} line {line}", repairs, [COVERS_CANVAS] if covers_canvas(box.box) else [])
    return images


def read_image_table(path: Path, images: Mapping[str, OpenImage]) -> None:
    """Add licence, URL and rotation to the images."""
    for line, row in iter_table_rows(path, ("ImageID", "License", "Author", "OriginalURL", "Rotation")):
        image = images.get(row["ImageID"])
        if image is None:
            continue
        image.licence = f"{row['License']} ({row['Author']})"
        image.url = row["OriginalURL"]
        if not row["Rotation"].strip():
            image.flags.append(ROTATION_UNKNOWN)
            continue
        try:
            image.problem = ROTATED if parse_number(row["Rotation"], "Rotation") % 360 else ""
        except Skip as reason:
            raise invalid_input_error(
                f"file {path.name}, line {line}, Rotation", row["Rotation"], "degrees or nothing"
            ) from reason


def read_sizes(path: Path, images: Mapping[str, OpenImage]) -> None:
    """Set the canvas of each image, in pixels; images that are not listed keep the default canvas."""
    for line, row in iter_table_rows(path, ("image_id", "image_w", "image_h")):
        image = images.get(row["image_id"])
        if image is None:
            continue
        try:
            image.canvas = Canvas(parse_integer(row["image_w"], "image_w"), parse_integer(row["image_h"], "image_h"))
            image.has_size = True
        except (Skip, ValueError) as reason:
            actual = f"{row['image_w']} x {row['image_h']}"
            where = f"file {path.name}, line {line}"
            raise invalid_input_error(where, actual, "width and height in pixels") from reason


def read_labels(path: Path, images: Mapping[str, OpenImage]) -> None:
    """Add the labels that people verified: Confidence 1 is present, 0 absent; values between are machine labels."""
    for _, row in iter_table_rows(path, ("ImageID", "LabelName", "Confidence")):
        image = images.get(row["ImageID"])
        if image is not None and row["Confidence"] in ("0", "1"):
            labels = image.present_labels if row["Confidence"] == "1" else image.absent_labels
            labels.add(row["LabelName"])


def _iter_first_boxes(path: Path) -> Iterator[list[float]]:
    rows = iter_table_rows(path, ("ImageID", "LabelName", *CORNER_COLUMNS))
    for (_, row), _ in zip(rows, range(UNITS_CHECK_ROWS), strict=False):
        try:
            yield [parse_number(row[name], name) for name in CORNER_COLUMNS]
        except Skip:
            continue


def _read_box(line: int, row: Mapping[str, str], class_names: Mapping[str, str], repairs: list[str]) -> OpenImagesBox:
    if row["LabelName"] not in class_names:
        raise Skip("of a class that is not in the list")
    if parse_number(row.get("Confidence", "1"), "Confidence") != 1:
        raise Skip("not verified")
    if _read_flag(row, GROUP_COLUMN):
        raise Skip("a group is no single thing")
    if _read_flag(row, INSIDE_COLUMN):
        raise Skip("seen from inside")
    values = [parse_number(row[name], name) for name in CORNER_COLUMNS]
    box = clip_to_canvas(to_corners(values, Convention.XXYY, Units.FRACTIONS, DEFAULT_CANVAS), repairs)
    attributes = {attribute: "yes" for column, attribute in FLAG_ATTRIBUTES.items() if _read_flag(row, column)}
    return OpenImagesBox(line, row["LabelName"], box, attributes)


def _read_flag(row: Mapping[str, str], column: str) -> bool:
    value = parse_integer(row.get(column, "0"), column)
    if value not in (-1, 0, 1):
        raise Skip(f"{column} is not -1, 0 or 1")
    return value == 1
