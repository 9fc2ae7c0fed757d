"""Contact sheets: the layouts of a suite drawn in one image."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from layoutmark.api import Pixels, Suite
from layoutmark.layout import Instance, Sample

TILE, PROMPT_LINES, MARGIN = 240, 3, 8
"""Longer side of a layout in pixels, lines of prompt below it, and margin around both in pixels."""
LINE_HEIGHT = 13
CHARACTERS_PER_LINE = 38
MASK_OPACITY = 110
"""Of 255."""
# Okabe and Ito's palette, which colour-blind readers can distinguish too.
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (213, 94, 0), (0, 114, 178), (204, 121, 167))
PAPER, INK, BACKGROUND = (255, 255, 255), (30, 30, 30), (236, 236, 236)


def draw_contact_sheet(suite: Suite, samples: Sequence[Sample], columns: int = 4) -> Image.Image:
    """Draw `samples` as an RGB image, each with its boxes, masks, points, scribbles, phrases and prompt.

    True images, if the suite has them, are shown faded behind the layouts.
    """
    tiles = [_draw_tile(sample, suite.true_image(sample.id)) for sample in samples]
    width, height = TILE + 2 * MARGIN, TILE + (PROMPT_LINES + 1) * LINE_HEIGHT + 2 * MARGIN
    columns = min(columns, len(tiles))
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height), PAPER)
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % columns * width + MARGIN, number // columns * height + MARGIN))
    return sheet


def _draw_tile(sample: Sample, true_image: Pixels | None) -> Image.Image:
    canvas = sample.layout.canvas
    scale = TILE / max(canvas.width, canvas.height)
    size = max(1, round(canvas.width * scale)), max(1, round(canvas.height * scale))
    image = Image.new("RGB", size, BACKGROUND)
    if true_image is not None:
        image = Image.blend(Image.fromarray(true_image).resize(size), Image.new("RGB", size, PAPER), 0.5)
    for number, instance in enumerate(sample.layout.instances):
        _draw_instance(image, instance, COLOURS[number % len(COLOURS)])
    tile = Image.new("RGB", (TILE, TILE + (PROMPT_LINES + 1) * LINE_HEIGHT), PAPER)
    tile.paste(image)
    prompt_lines = textwrap.wrap(sample.prompt, CHARACTERS_PER_LINE, max_lines=PROMPT_LINES, placeholder=" ...")
    pen = ImageDraw.Draw(tile)
    for line, text in enumerate([sample.id, *prompt_lines]):
        pen.text((0, TILE + line * LINE_HEIGHT), text, fill=INK, font=_load_font())
    return tile


def _draw_instance(image: Image.Image, instance: Instance, colour: tuple[int, int, int]) -> None:
    width, height = image.size

    def to_pixels(x: float, y: float) -> tuple[float, float]:
        return x * width, y * height

    if instance.mask is not None:
        mask = Image.fromarray(instance.mask.to_array() * np.uint8(MASK_OPACITY)).resize(image.size)
        image.paste(Image.new("RGB", image.size, colour), (0, 0), mask)
    pen = ImageDraw.Draw(image)
    x0, y0 = to_pixels(instance.box.x0, instance.box.y0)
    x1, y1 = to_pixels(instance.box.x1, instance.box.y1)
    pen.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=2)
    if instance.scribble:
        pen.line([to_pixels(*point) for point in instance.scribble], fill=colour, width=3)
    if instance.point is not None:
        x, y = to_pixels(*instance.point)
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour, outline=PAPER)
    pen.text((x0 + 3, y0 + 1), instance.phrase, fill=INK, font=_load_font(), stroke_width=2, stroke_fill=PAPER)


def _load_font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=11)
