"""Requests used by the checks: scenes whose instances have every optional field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Reference

CANVAS_SIDE = 64
CATEGORIES = ("dog", "cat", "clock", "bird", "car", "bed")


@dataclass(frozen=True, eq=False)
class Request:
    """The inputs of one image."""

    layout: Layout
    prompt: str
    refs: Mapping[str, Reference]
    seed: int = 1

    def with_instances(self, instances: Sequence[Instance]) -> Request:
        """A copy with other instances."""
        return replace(self, layout=Layout(self.layout.canvas, tuple(instances)))


def scene(count: int, seed: int = 1) -> Request:
    """`count` instances side by side; the prompt names them all, each category once."""
    columns = math.ceil(math.sqrt(count)) if count else 1
    cell = 1 / columns
    boxes = [
        Box(x * cell + 0.1 * cell, y * cell + 0.15 * cell, x * cell + 0.9 * cell, y * cell + 0.85 * cell)
        for y, x in (divmod(number, columns) for number in range(count))
    ]
    return scene_from_boxes(boxes, seed)


def scene_from_boxes(boxes: Sequence[Box], seed: int = 1) -> Request:
    """A scene with these boxes; masks, points and scribbles lie inside the box of their instance."""
    instances = [_instance(number, box) for number, box in enumerate(boxes)]
    phrases = list(dict.fromkeys(instance.phrase for instance in instances)) or ["a photo"]
    refs = {str(instance.reference): _reference(number) for number, instance in enumerate(instances)}
    return Request(Layout(Canvas(CANVAS_SIDE, CANVAS_SIDE), tuple(instances)), " and ".join(phrases), refs, seed)


def box_mask(box: Box) -> Mask:
    """The ellipse inscribed in a box, at least one pixel."""
    y, x = (np.mgrid[0:CANVAS_SIDE, 0:CANVAS_SIDE] + 0.5) / CANVAS_SIDE
    centre_x, centre_y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    inside = ((x - centre_x) / (box.x1 - box.x0)) ** 2 + ((y - centre_y) / (box.y1 - box.y0)) ** 2 <= 0.25
    inside[min(int(centre_y * CANVAS_SIDE), CANVAS_SIDE - 1), min(int(centre_x * CANVAS_SIDE), CANVAS_SIDE - 1)] = True
    return Mask.from_array(inside)


def _instance(number: int, box: Box) -> Instance:
    category = CATEGORIES[number % len(CATEGORIES)]
    fractions = np.linspace(0.2, 0.8, 5)
    return Instance(
        str(number), f"a {category}", category, box,
        mask=box_mask(box),
        point=((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2),
        scribble=tuple((box.x0 + s * (box.x1 - box.x0), box.y0 + s * (box.y1 - box.y0)) for s in fractions.tolist()),
        attributes={"colour": "red"},
        reference=f"reference-{number}",
    )  # fmt: skip


def _reference(number: int) -> Reference:
    image = np.random.default_rng(number).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    mask = np.zeros((48, 48), dtype=bool)
    mask[8:40, 8:40] = True
    return Reference(f"reference-{number}", CATEGORIES[number % len(CATEGORIES)], image, mask)
