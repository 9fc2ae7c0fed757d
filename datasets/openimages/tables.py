"""The tables of Open Images V4 to V7, read row by row: classes, boxes, pictures, sizes, verified labels, masks.

Source of the forms: storage.googleapis.com/openimages/web, "Data formats".  Boxes are fractions of the picture in the
order XMin, XMax, YMin, YMax; a flag is 1, 0, or -1 for unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from layoutmark.ingest.boxes import WHOLE, Convention, Units, check_units, corners, covers_all, placed
from layoutmark.ingest.files import number, refused, table_rows, whole
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.phrases import tidied
from layoutmark.ingest.scenes import SQUARE
from layoutmark.layout import Box, Canvas

CORNERS = ("XMin", "XMax", "YMin", "YMax")
FLAGS = {"IsOccluded": "occluded", "IsTruncated": "truncated", "IsDepiction": "depiction"}
"""Columns that become attributes of an instance ("yes")."""
GROUP, INSIDE = "IsGroupOf", "IsInside"
HEADERS = ({"label", "name"}, {"id", "name"}, {"LabelName", "DisplayName"})
FIRST = 5_000
"""Boxes that tell whether the numbers are fractions."""
TURNED = "picture is to be turned, and its boxes may not be"
UNTURNED = "rotation not stated"
NO_SIZE = "size not known: boxes are placed on a square"


@dataclass(frozen=True, slots=True)
class Found:
    """One box of one thing; `number` is its line in the file."""

    number: int
    label: str
    box: Box
    attributes: Mapping[str, str]


@dataclass(slots=True)
class Picture:
    """What the tables say of one picture."""

    id: str
    boxes: list[Found] = field(default_factory=list)
    canvas: Canvas = SQUARE
    sized: bool = False
    """Whether a table of sizes says so."""
    flags: list[str] = field(default_factory=list)
    licence: str = "CC-BY-2.0, as listed by Open Images"
    url: str = ""
    present: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    """Labels that people verified to be in the picture, or not to be in it."""
    problem: str = ""
    """Why the picture cannot be used."""


def read_classes(path: Path) -> dict[str, str]:
    """Names by label, in small letters.  The file has no header line, or one of three that are in use."""
    names: dict[str, str] = {}
    for line, row in table_rows(path, (), header=("label", "name")):
        if line == 1 and set(row.values()) in HEADERS:
            continue
        names[row["label"].strip()] = tidied(row["name"], []).lower()
    if not names:
        raise refused(f"file {path.name}", "no class", "lines LABEL,NAME")
    return names


def read_boxes(path: Path, names: Mapping[str, str], ledger: Ledger) -> dict[str, Picture]:
    """Pictures by id, in the order of their first box, with the boxes that can be targets; closes each row."""
    check_units(list(_first(path)), Units.FRACTIONS, f"file {path.name}, boxes")
    pictures: dict[str, Picture] = {}
    seen: set[tuple[str, str, Box]] = set()
    for line, row in table_rows(path, ("ImageID", "LabelName", *CORNERS)):
        picture = pictures.setdefault(row["ImageID"], Picture(row["ImageID"]))
        repairs: list[str] = []
        try:
            found = _found(line, row, names, repairs)
            if (picture.id, found.label, found.box) in seen:
                raise Skip("the same box twice")
        except Skip as reason:
            ledger.skip("row", f"{path.name} line {line}", reason)
            if row["LabelName"] in names and row.get("Confidence", "1") == "1":
                picture.present.add(row["LabelName"])
            continue
        seen.add((picture.id, found.label, found.box))
        picture.boxes.append(found)
        picture.present.add(found.label)
        ledger.keep("row", f"{path.name} line {line}", repairs, [WHOLE] if covers_all(found.box) else [])
    return pictures


def _first(path: Path) -> Iterator[list[float]]:
    for (_, row), _ in zip(table_rows(path, ("ImageID", "LabelName", *CORNERS)), range(FIRST), strict=False):
        try:
            yield [number(row[name], name) for name in CORNERS]
        except Skip:
            continue


def _found(line: int, row: Mapping[str, str], names: Mapping[str, str], repairs: list[str]) -> Found:
    if row["LabelName"] not in names:
        raise Skip("of a class that is not in the list")
    if number(row.get("Confidence", "1"), "Confidence") != 1:
        raise Skip("not verified")
    if _flag(row, GROUP):
        raise Skip("a group is no single thing")
    if _flag(row, INSIDE):
        raise Skip("seen from inside")
    values = [number(row[name], name) for name in CORNERS]
    box = placed(corners(values, Convention.XXYY, Units.FRACTIONS, SQUARE), repairs)
    return Found(line, row["LabelName"], box, {said: "yes" for name, said in FLAGS.items() if _flag(row, name)})


def _flag(row: Mapping[str, str], name: str) -> bool:
    value = whole(row.get(name, "0"), name)
    if value not in (-1, 0, 1):
        raise Skip(f"{name} is not -1, 0 or 1")
    return value == 1


def read_pictures(path: Path, pictures: Mapping[str, Picture]) -> None:
    """Licence, address and rotation of the pictures."""
    for line, row in table_rows(path, ("ImageID", "License", "Author", "OriginalURL", "Rotation")):
        picture = pictures.get(row["ImageID"])
        if picture is None:
            continue
        picture.licence = f"{row['License']} ({row['Author']})"
        picture.url = row["OriginalURL"]
        if not row["Rotation"].strip():
            picture.flags.append(UNTURNED)
            continue
        try:
            picture.problem = TURNED if number(row["Rotation"], "Rotation") % 360 else ""
        except Skip as reason:
            raise refused(f"file {path.name}, line {line}, Rotation", row["Rotation"], "degrees or nothing") from reason


def read_sizes(path: Path, pictures: Mapping[str, Picture]) -> None:
    """Sizes in pixels; a picture that the table does not list stays on a square."""
    for line, row in table_rows(path, ("image_id", "image_w", "image_h")):
        picture = pictures.get(row["image_id"])
        if picture is None:
            continue
        try:
            picture.canvas = Canvas(whole(row["image_w"], "image_w"), whole(row["image_h"], "image_h"))
            picture.sized = True
        except (Skip, ValueError) as reason:
            found = f"{row['image_w']} x {row['image_h']}"
            raise refused(f"file {path.name}, line {line}", found, "width and height in pixels") from reason


def read_labels(path: Path, pictures: Mapping[str, Picture]) -> None:
    """Labels that people verified: Confidence 1 for present, 0 for absent.  Machine labels, between, are no word."""
    for _, row in table_rows(path, ("ImageID", "LabelName", "Confidence")):
        picture = pictures.get(row["ImageID"])
        if picture is not None and row["Confidence"] in ("0", "1"):
            (picture.present if row["Confidence"] == "1" else picture.absent).add(row["LabelName"])
