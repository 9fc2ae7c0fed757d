"""The miniature world: sprites of COCO categories in two styles and four tints over procedural backgrounds.

A `Scene` is a plain description; `render` turns it into pixels and exact visible masks.  All arithmetic is in integers,
so a scene gives the same bytes on every platform.  Sizes are in units of 1/64 of the canvas side.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from .deterministic import RandomStream, resize_by_area

FOLDER = Path(__file__).parent
GRID = 64
"""Units per side of the canvas."""
TINTS = {"red": (226, 52, 44), "blue": (52, 104, 236), "green": (44, 172, 68), "yellow": (248, 200, 36)}
BACKGROUNDS = ("sky", "grass", "sand", "wall", "night")
_ATLAS_CARD = json.loads((FOLDER / "atlas.json").read_text("utf-8"))
CATEGORIES: tuple[str, ...] = tuple(_ATLAS_CARD["categories"])
STYLES: tuple[str, ...] = tuple(_ATLAS_CARD["styles"])


@dataclass(frozen=True, slots=True)
class Thing:
    """One sprite with its position."""

    category: str
    style: str
    tint: str
    x: int
    y: int
    """Centre in 1/64 of the canvas side."""
    size: int
    """Longest side in 1/64 of the canvas side."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A background with things on it."""

    background: str
    """One of `BACKGROUNDS`."""
    pattern: int
    """Seed of the background's pattern."""
    things: tuple[Thing, ...]
    """From back to front."""


@dataclass(frozen=True, slots=True)
class RenderedScene:
    """A rendered scene."""

    pixels: npt.NDArray[np.uint8]
    """RGB, shape (side, side, 3), 0..255."""
    masks: tuple[npt.NDArray[np.bool_], ...]
    """Visible pixels of each thing, shape (side, side)."""
    visible_shares: tuple[float, ...]
    """Visible share of each thing's ink, 0..1."""


@lru_cache(maxsize=1)
def _load_atlas() -> npt.NDArray[np.int64]:
    with Image.open(FOLDER / "atlas.png") as image:
        return np.asarray(image.convert("RGBA"), dtype=np.int64)


@lru_cache(maxsize=256)
def draw_sprite(category: str, style: str, tint: str) -> npt.NDArray[np.int64]:
    """The tinted sprite cropped to its ink: integers 0..255, shape (h, w, 4), colour not premultiplied by alpha."""
    side = int(_ATLAS_CARD["side"])
    row, column = STYLES.index(style), CATEGORIES.index(category)
    cell = _load_atlas()[row * side : (row + 1) * side, column * side : (column + 1) * side].copy()
    luma = (cell[..., 0] * 77 + cell[..., 1] * 150 + cell[..., 2] * 29) >> 8
    colour = np.array(TINTS[tint], dtype=np.int64)
    knee = 150
    dark = colour * luma[..., None] // knee
    light = colour + (255 - colour) * (luma[..., None] - knee) // (255 - knee)
    tinted = np.where(luma[..., None] < knee, dark, light)
    cell[..., :3] = (cell[..., :3] * 56 + tinted * 200) >> 8
    ink = cell[..., 3] > 127
    rows, columns = np.nonzero(ink.any(1))[0], np.nonzero(ink.any(0))[0]
    return np.clip(cell[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 0, 255)


def sprite_bounds(thing: Thing, side: int = GRID) -> tuple[int, int, int, int]:
    """Rectangle of the sprite on a canvas of `side` pixels: x0, y0, x1, y1 in pixels, half open.

    It may extend beyond the canvas.
    """
    height, width = draw_sprite(thing.category, thing.style, thing.tint).shape[:2]
    longest = max(height, width)
    # The longest side is exact; the other follows from the aspect ratio and is at least one pixel.
    pixels = max(1, thing.size * side // GRID)
    h, w = (max(1, (n * pixels + longest // 2) // longest) for n in (height, width))
    x0 = (thing.x * side) // GRID - w // 2
    y0 = (thing.y * side) // GRID - h // 2
    return x0, y0, x0 + w, y0 + h


def draw_background(kind: str, pattern: int, side: int = GRID) -> npt.NDArray[np.int64]:
    """Draw a background, shape (side, side, 3): pale, with little texture, so that tinted things stand out."""
    stream = RandomStream(pattern)
    y = (np.arange(side) * 255 // max(1, side - 1))[:, None]
    x = (np.arange(side) * GRID // side)[None, :]
    rows = (np.arange(side) * GRID // side)[:, None]
    shift, phase = stream.integer(-12, 12), stream.integer(0, 31)
    if kind == "sky":
        tone = np.broadcast_to(y, (side, side))
        base = np.stack([178 + tone * 50 // 255, 206 + tone * 32 // 255, 236 + tone * 12 // 255], -1)
        for _ in range(stream.integer(1, 3)):
            cx, cy, r = stream.integer(0, GRID), stream.integer(0, GRID), stream.integer(5, 10)
            base[(x - cx) ** 2 + 4 * (rows - cy) ** 2 < r * r] = (244, 247, 250)
    elif kind == "grass":
        wave = abs((x + phase) % 32 - 16) // 4
        base = np.stack([150 + y // 16 + wave, 196 + y // 24 + wave, 140 + wave + 0 * y], -1)
    elif kind == "sand":
        ripple = ((rows + abs((x + phase) % 32 - 16) // 4) % 12 < 3) * -10
        base = np.stack([232 + ripple, 214 - y // 20 + ripple, 176 - y // 16 + ripple], -1)
    elif kind == "wall":
        row = rows // 8
        joint = (rows % 8 == 0) | ((x + 6 * (row % 2)) % 12 == 0)
        base = np.where(joint[..., None], np.array((222, 214, 210)), np.array((200, 186, 182)))
    elif kind == "night":
        base = np.stack([44 + y // 12 + 0 * x, 44 + y // 10 + 0 * x, 72 + y // 6 + 0 * x], -1)
        for _ in range(stream.integer(4, 9)):
            star = (x // 2 == stream.integer(0, 31)) & (rows // 2 == stream.integer(0, 31))
            base[star] = (228, 228, 208)
    else:
        raise ValueError(f"unknown background {kind!r}: expected one of {BACKGROUNDS}")
    return np.clip(base + shift, 0, 255)


def render(scene: Scene, side: int = GRID) -> RenderedScene:
    """Draw a scene on a square canvas of `side` pixels (64 to 128), from back to front."""
    canvas = draw_background(scene.background, scene.pattern, side)
    top_thing = np.full((side, side), -1)
    ink_areas: list[int] = []
    for index, thing in enumerate(scene.things):
        sprite = draw_sprite(thing.category, thing.style, thing.tint)
        x0, y0, x1, y1 = sprite_bounds(thing, side)
        resized = _resize_sprite(sprite, y1 - y0, x1 - x0)
        cx0, cy0, cx1, cy1 = max(0, x0), max(0, y0), min(side, x1), min(side, y1)
        inside = resized[cy0 - y0 : cy1 - y0, cx0 - x0 : cx1 - x0]
        alpha = inside[..., 3:]
        behind = canvas[cy0:cy1, cx0:cx1]
        canvas[cy0:cy1, cx0:cx1] = (behind * (255 - alpha) + inside[..., :3] * alpha + 127) // 255
        ink = alpha[..., 0] > 127
        top_thing[cy0:cy1, cx0:cx1][ink] = index
        ink_areas.append(int((resized[..., 3] > 127).sum()))
    masks = tuple(top_thing == i for i in range(len(scene.things)))
    shares = tuple(float(m.sum()) / max(1, n) for m, n in zip(masks, ink_areas, strict=True))
    return RenderedScene(canvas.astype(np.uint8), masks, shares)


def _resize_sprite(sprite: npt.NDArray[np.int64], height: int, width: int) -> npt.NDArray[np.int64]:
    """Resize by area averaging, with colours weighted by alpha so that transparent pixels do not bleed into edges."""
    weighted = np.concatenate([sprite[..., :3] * sprite[..., 3:], sprite[..., 3:] * 255], -1)
    mean = resize_by_area(weighted, height, width)
    alpha = mean[..., 3:] // 255
    colour = mean[..., :3] // np.maximum(alpha, 1)
    return np.concatenate([np.clip(colour, 0, 255), alpha], -1)
