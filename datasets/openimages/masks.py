"""Open Images' segmentation masks: a table with a PNG file for some of the boxes.

A mask belongs to the box of the same image and class with the same corners, up to the rounding of both files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from layoutmark.ingest.files import iter_table_rows
from layoutmark.ingest.ledger import Ledger, Skip
from layoutmark.ingest.references import skip_unreadable
from layoutmark.ingest.values import parse_number
from layoutmark.layout import Mask

from .tables import OpenImage, OpenImagesBox

CORNER_COLUMNS = ("BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax")
MAX_CORNER_DIFFERENCE = 0.005
"""As a fraction of the image's side."""


def read_masks(path: Path, images: Mapping[str, OpenImage], ledger: Ledger) -> dict[tuple[str, int], Mask]:
    """Masks by image id and line of the box; each row of the table is closed in the ledger.

    PNG files are in the table's folder or in any folder below it.
    """
    files = {file.name: file for file in path.parent.rglob("*.png")}
    masks: dict[tuple[str, int], Mask] = {}
    for line, row in iter_table_rows(path, ("MaskPath", "ImageID", "LabelName", *CORNER_COLUMNS)):
        image = images.get(row["ImageID"])
        try:
            if image is None:
                raise Skip("of a picture without boxes")
            corners = [parse_number(row[name], name) for name in CORNER_COLUMNS]
            box = _find_box(image, row["LabelName"], corners)
            masks[image.id, box.line] = _read_mask(files.get(row["MaskPath"]))
        except Skip as reason:
            ledger.skip("mask", f"{path.name} line {line}", reason)
            continue
        ledger.keep("mask", f"{path.name} line {line}")
    return masks


def _find_box(image: OpenImage, label: str, corners: list[float]) -> OpenImagesBox:
    x0, x1, y0, y1 = corners
    mask_corners = np.array((x0, y0, x1, y1))
    distances = [(float(np.abs(b.box.xyxy - mask_corners).max()), b.line, b) for b in image.boxes if b.label == label]
    if not distances or min(distances)[0] > MAX_CORNER_DIFFERENCE:
        raise Skip("no box with these corners")
    return min(distances)[2]


def _read_mask(path: Path | None) -> Mask:
    if path is None:
        raise Skip("no such picture")
    with skip_unreadable("picture of the mask"), Image.open(path) as opened:
        pixels = np.asarray(opened.convert("L")) > 0
    if not pixels.any():
        raise Skip("mask is empty")
    return Mask.from_array(pixels)
