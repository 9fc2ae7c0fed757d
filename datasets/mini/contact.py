"""Contact sheet of the suites: scenes with boxes, points and scribbles, and scenes beside their portraits.

Usage: PYTHONPATH=bench python -m layoutmark.datasets.mini.contact datasets/mini/contact.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw

from layoutmark.layout import Sample

from .suites import MiniSuite, open_frozen_suite

CELL, GAP = 128, 6
COLUMNS, SCENE_ROWS, PORTRAIT_ROWS = 8, 5, 3
PAPER, INK = (255, 255, 255), (24, 24, 28)


def draw_sheet() -> Image.Image:
    """Draw scenes of `mini`, the last row with layouts, and then scenes of `mini-refs` with their portraits."""
    row_count = SCENE_ROWS + PORTRAIT_ROWS
    page = Image.new("RGB", (COLUMNS * (CELL + GAP) + GAP, row_count * (CELL + GAP) + GAP), PAPER)
    mini, refs = open_frozen_suite("mini"), open_frozen_suite("mini-refs")
    for number, sample in enumerate(mini.samples[: COLUMNS * SCENE_ROWS]):
        row, column = divmod(number, COLUMNS)
        page.paste(_draw_scene(mini, sample, with_layout=row == SCENE_ROWS - 1), _cell_corner(row, column))
    row, column = SCENE_ROWS, 0
    for sample in refs.samples:
        portraits = refs.references(sample.id)
        if column + 1 + len(portraits) > COLUMNS:
            continue
        cells = [
            _draw_scene(refs, sample, with_layout=False),
            *(_enlarge(Image.fromarray(portrait.image)) for portrait in portraits.values()),
        ]
        for cell in cells:
            page.paste(cell, _cell_corner(row, column))
            column += 1
        if column == COLUMNS:
            row, column = row + 1, 0
        if row == row_count:
            break
    return page


def _cell_corner(row: int, column: int) -> tuple[int, int]:
    return GAP + column * (CELL + GAP), GAP + row * (CELL + GAP)


def _enlarge(image: Image.Image) -> Image.Image:
    return image.resize((CELL, CELL), Image.Resampling.NEAREST)


def _draw_scene(suite: MiniSuite, sample: Sample, *, with_layout: bool) -> Image.Image:
    cell = _enlarge(Image.fromarray(suite.true_image(sample.id)))
    pen = ImageDraw.Draw(cell)
    for instance in sample.layout.instances if with_layout else ():
        x0, y0, x1, y1 = (c * CELL for c in instance.box.xyxy)
        pen.rectangle((x0, y0, x1 - 1, y1 - 1), outline=INK)
        if instance.scribble is not None and instance.point is not None:
            pen.line([(x * CELL, y * CELL) for x, y in instance.scribble], fill=INK, width=1)
            x, y = (c * CELL for c in instance.point)
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=PAPER, outline=INK)
    return cell


if __name__ == "__main__":
    draw_sheet().save(Path(sys.argv[1]), optimize=True)
