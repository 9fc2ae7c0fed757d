"""Open Images' segmentation masks: a table that names a PNG for some boxes.

A mask belongs to the box of the same picture and class with the same corners, as far as both files round them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from layoutmark.ingest.files import number, table_rows
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.references import decoded
from layoutmark.layout import Mask

from .tables import Found, Picture

CORNERS = ("BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax")
NEAR = 0.005
"""Most by which a corner may differ, as a share of the picture's side."""


def read_masks(path: Path, pictures: Mapping[str, Picture], ledger: Ledger) -> dict[tuple[str, int], Mask]:
    """Masks by picture and line of the box; closes each row.  PNG files lie beside the table or in any folder below."""
    files = {file.name: file for file in path.parent.rglob("*.png")}
    found: dict[tuple[str, int], Mask] = {}
    for line, row in table_rows(path, ("MaskPath", "ImageID", "LabelName", *CORNERS)):
        picture = pictures.get(row["ImageID"])
        try:
            if picture is None:
                raise Skip("of a picture without boxes")
            corners = [number(row[name], name) for name in CORNERS]
            box = _nearest(picture, row["LabelName"], corners)
            found[picture.id, box.number] = _mask(files.get(row["MaskPath"]))
        except Skip as reason:
            ledger.skip("mask", f"{path.name} line {line}", reason)
            continue
        ledger.keep("mask", f"{path.name} line {line}")
    return found


def _nearest(picture: Picture, label: str, corners: list[float]) -> Found:
    x0, x1, y0, y1 = corners
    wanted = np.array((x0, y0, x1, y1))
    apart = [(float(np.abs(b.box.xyxy - wanted).max()), b.number, b) for b in picture.boxes if b.label == label]
    if not apart or min(apart)[0] > NEAR:
        raise Skip("no box with these corners")
    return min(apart)[2]


def _mask(path: Path | None) -> Mask:
    if path is None:
        raise Skip("no such picture")
    with decoded("picture of the mask"), Image.open(path) as opened:
        pixels = np.asarray(opened.convert("L")) > 0
    if not pixels.any():
        raise Skip("mask is empty")
    return Mask.from_array(pixels)
