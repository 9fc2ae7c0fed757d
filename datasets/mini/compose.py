"""Random scenes with controlled count, size, overlap and repetition, from a seed."""

from __future__ import annotations

from dataclasses import dataclass

from .deterministic import RandomStream
from .world import BACKGROUNDS, CATEGORIES, GRID, STYLES, TINTS, Scene, Thing, render, sprite_bounds

SIZE_RANGES = {"small": (15, 19), "medium": (20, 27), "large": (28, 40)}
"""Longest side of every sprite in 1/64 of the canvas, by size bin."""
OVERLAPS = ("none", "some")
MIN_OVERLAP_IOU, MAX_OVERLAP_IOU = 0.03, 0.3
"""IoU of two sprite rectangles that overlap."""
MAX_PLACEMENT_TRIES = 40
MIN_VISIBLE_SHARE = 0.6
"""Minimum visible share of each sprite's ink; a smaller part could not be judged."""


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """Required properties of a scene."""

    count: int
    """Number of things."""
    size: str
    """Their size bin, a key of `SIZE_RANGES`."""
    overlap: str
    """Whether sprites overlap, one of `OVERLAPS`."""
    repeated: bool
    """Whether a category occurs more than once."""


def compose_scene(spec: SceneSpec, stream: RandomStream) -> Scene:
    """Draw random scenes until one meets the specification.

    No two things have both category and tint in common, so phrases are unique.
    """
    while True:
        things = _place_things(spec, stream)
        if things is None:
            continue
        scene = Scene(stream.choice(BACKGROUNDS), stream.integer(0, 2**31), tuple(things))
        if min(render(scene).visible_shares) >= MIN_VISIBLE_SHARE:
            return scene


def draw_training_spec(stream: RandomStream) -> SceneSpec:
    """A random specification for training: mostly few things, with every bin present."""
    count = stream.weighted_choice((1, 2, 3, 4, 5, 6), (26, 30, 22, 10, 7, 5))
    sizes = {1: (10, 35, 55), 2: (15, 45, 40), 3: (25, 50, 25)}.get(count, (45, 55, 0))
    size = stream.weighted_choice(tuple(SIZE_RANGES), sizes)
    return SceneSpec(
        count,
        size,
        stream.weighted_choice(OVERLAPS, (75, 25)) if count > 1 else "none",
        count > 1 and stream.chance(25),
    )


def _place_things(spec: SceneSpec, stream: RandomStream) -> list[Thing] | None:
    categories = _draw_categories(spec, stream)
    things: list[Thing] = []
    used_identities: set[tuple[str, str]] = set()
    has_overlap = False
    for category in categories:
        tint = stream.choice([t for t in TINTS if (category, t) not in used_identities])
        used_identities.add((category, tint))
        style = stream.choice(STYLES)
        low, high = SIZE_RANGES[spec.size]
        for _ in range(MAX_PLACEMENT_TRIES):
            size = stream.integer(low, high)
            centred = Thing(category, style, tint, GRID // 2, GRID // 2, size)
            x0, y0, x1, y1 = sprite_bounds(centred)
            half_w, half_h = (x1 - x0 + 1) // 2, (y1 - y0 + 1) // 2
            x, y = stream.integer(half_w, GRID - half_w - 1), stream.integer(half_h, GRID - half_h - 1)
            thing = Thing(category, style, tint, x, y, size)
            largest_iou = max((_iou(sprite_bounds(thing), sprite_bounds(t)) for t in things), default=0.0)
            if largest_iou == 0.0 or (spec.overlap == "some" and MIN_OVERLAP_IOU < largest_iou <= MAX_OVERLAP_IOU):
                has_overlap |= largest_iou > 0
                things.append(thing)
                break
        else:
            return None
    return things if has_overlap == (spec.overlap == "some") else None


def _draw_categories(spec: SceneSpec, stream: RandomStream) -> list[str]:
    if not spec.repeated:
        return stream.sample(CATEGORIES, spec.count)
    categories = stream.sample(CATEGORIES, max(1, spec.count - stream.integer(1, min(2, spec.count - 1))))
    while len(categories) < spec.count:
        categories.append(categories[0])
    return stream.sample(categories, len(categories))


def _iou(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return w * h / (area - w * h)
