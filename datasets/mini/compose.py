"""Random scenes with controlled count, size, overlap and repetition, from a seed."""

from __future__ import annotations

from dataclasses import dataclass

from .deterministic import Draw
from .world import BACKGROUNDS, CATEGORIES, GRID, STYLES, TINTS, Scene, Thing, extent, render

SIZES = {"small": (15, 19), "medium": (20, 27), "large": (28, 40)}
"""Longest side in 1/64 of the canvas, per size bin."""
OVERLAPS = ("none", "some")
MIN_VISIBLE = 0.6
"""Every thing shows at least this share of its ink: less could not be judged."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a scene should have: how many things, their size bin, whether any overlap, whether a category repeats."""

    count: int
    size: str
    overlap: str
    repeated: bool


def compose(wish: Wish, draw: Draw) -> Scene:
    """Draw scenes until one fulfils the wish.  Category and tint together never repeat, so phrases stay unique."""
    while True:
        things = _things(wish, draw)
        if things is None:
            continue
        scene = Scene(draw.pick(BACKGROUNDS), draw.integer(0, 2**31), tuple(things))
        if min(render(scene).visible) >= MIN_VISIBLE:
            return scene


def any_wish(draw: Draw) -> Wish:
    """A wish as training wants it: mostly few things, every bin present."""
    count = draw.weighted((1, 2, 3, 4, 5, 6), (26, 30, 22, 10, 7, 5))
    sizes = {1: (10, 35, 55), 2: (15, 45, 40), 3: (25, 50, 25)}.get(count, (45, 55, 0))
    size = draw.weighted(tuple(SIZES), sizes)
    return Wish(count, size, draw.weighted(OVERLAPS, (75, 25)) if count > 1 else "none", count > 1 and draw.chance(25))


def _things(wish: Wish, draw: Draw) -> list[Thing] | None:
    kinds = _categories(wish, draw)
    things: list[Thing] = []
    used: set[tuple[str, str]] = set()
    overlapped = False
    for category in kinds:
        tint = draw.pick([t for t in TINTS if (category, t) not in used])
        used.add((category, tint))
        style = draw.pick(STYLES)
        low, high = SIZES[wish.size]
        for _ in range(40):
            size = draw.integer(low, high)
            probe = Thing(category, style, tint, GRID // 2, GRID // 2, size)
            x0, y0, x1, y1 = extent(probe)
            half_w, half_h = (x1 - x0 + 1) // 2, (y1 - y0 + 1) // 2
            x, y = draw.integer(half_w, GRID - half_w - 1), draw.integer(half_h, GRID - half_h - 1)
            thing = Thing(category, style, tint, x, y, size)
            worst = max((_iou(extent(thing), extent(t)) for t in things), default=0.0)
            if worst == 0.0 or (wish.overlap == "some" and 0.03 < worst <= 0.3):
                overlapped |= worst > 0
                things.append(thing)
                break
        else:
            return None
    return things if overlapped == (wish.overlap == "some") else None


def _categories(wish: Wish, draw: Draw) -> list[str]:
    if not wish.repeated:
        return draw.sample(CATEGORIES, wish.count)
    kinds = draw.sample(CATEGORIES, max(1, wish.count - draw.integer(1, min(2, wish.count - 1))))
    while len(kinds) < wish.count:
        kinds.append(kinds[0])
    return draw.sample(kinds, len(kinds))


def _iou(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return w * h / (area - w * h)
