"""Contact sheets: layouts of a suite drawn as one picture, for looking at what a suite asks for."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from layoutmark.api import Pixels, Suite
from layoutmark.layout import Instance, Sample

TILE, LINES, MARGIN = 240, 3, 8
"""Longest side of a layout in pixels, lines of prompt below it, and the room around."""
LINE = 13
PER_LINE = 38
# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (213, 94, 0), (0, 114, 178), (204, 121, 167))
PAPER, INK, GROUND = (255, 255, 255), (30, 30, 30), (236, 236, 236)


def contact_sheet(suite: Suite, samples: Sequence[Sample], columns: int = 4) -> Image.Image:
    """RGB picture of `samples`, each with boxes, masks, points, scribbles, phrases and prompt.

    The true picture lies beneath, pale, where the suite has it.
    """
    tiles = [_tile(sample, suite.true_image(sample.id)) for sample in samples]
    width, height = TILE + 2 * MARGIN, TILE + (LINES + 1) * LINE + 2 * MARGIN
    columns = min(columns, len(tiles))
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), PAPER)
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % columns * width + MARGIN, number // columns * height + MARGIN))
    return sheet


def _tile(sample: Sample, true: Pixels | None) -> Image.Image:
    canvas = sample.layout.canvas
    factor = TILE / max(canvas.width, canvas.height)
    size = max(1, round(canvas.width * factor)), max(1, round(canvas.height * factor))
    picture = Image.new("RGB", size, GROUND)
    if true is not None:
        picture = Image.blend(Image.fromarray(true).resize(size), Image.new("RGB", size, PAPER), 0.5)
    for number, instance in enumerate(sample.layout.instances):
        _draw(picture, instance, COLOURS[number % len(COLOURS)])
    tile = Image.new("RGB", (TILE, TILE + (LINES + 1) * LINE), PAPER)
    tile.paste(picture)
    words = textwrap.wrap(sample.prompt, PER_LINE, max_lines=LINES, placeholder=" ...")
    pen = ImageDraw.Draw(tile)
    for line, text in enumerate([sample.id, *words]):
        pen.text((0, TILE + line * LINE), text, fill=INK, font=_font())
    return tile


def _draw(picture: Image.Image, instance: Instance, colour: tuple[int, int, int]) -> None:
    width, height = picture.size

    def place(x: float, y: float) -> tuple[float, float]:
        return x * width, y * height

    if instance.mask is not None:
        mask = Image.fromarray(instance.mask.array() * np.uint8(110)).resize(picture.size)
        picture.paste(Image.new("RGB", picture.size, colour), (0, 0), mask)
    pen = ImageDraw.Draw(picture)
    x0, y0 = place(instance.box.x0, instance.box.y0)
    x1, y1 = place(instance.box.x1, instance.box.y1)
    pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=2)
    if instance.scribble:
        pen.line([place(*point) for point in instance.scribble], fill=colour, width=3)
    if instance.point is not None:
        x, y = place(*instance.point)
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour, outline=PAPER)
    pen.text((x0 + 3, y0 + 1), instance.phrase, fill=INK, font=_font(), stroke_width=2, stroke_fill=PAPER)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=11)
