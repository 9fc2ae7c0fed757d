"""What a dial is: one defect, from none to much, turned on scenes of the miniature world whose truth is known.

A dial changes the scene, its pixels, or the words a picture is judged by.  What a level hits, a higher level hits
too: things and images are drawn by numbers that do not depend on the level.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.layout import Reference, Sample
from layoutmark.provenance import digest, digest_pixels
from layoutmark.registry import Registry
from layoutmark.statistics import derive_seed

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One sample of the suite: its scene, its references, and the whole suite's cases."""

    sample: Sample
    scene: Any
    references: Mapping[str, Reference]
    everyone: Sequence[Case] = field(repr=False)
    world: Any

    def chance(self, *parts: str | int) -> float:
        """A fixed number in [0, 1) for a thing or the image."""
        return derive_seed(self.sample.id, *parts) / 2**63


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What is judged: the picture, the sample it is judged by, and the scene that was drawn."""

    pixels: Pixels
    sample: Sample
    scene: Any


@dataclass(frozen=True, slots=True)
class Shown:
    """A view of a case, as the picture of one seed."""

    case: Case
    view: View
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Dial:
    """A defect: `turn(case, level)`, and its levels from none upwards, in `unit`.

    `portraits` says what fidelity is measured against: the suite's portraits, or else the crops of the true image.
    `again`, if there, gives the pictures of the seeds after the first.
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    turn: Callable[[Case, float], View]
    portraits: bool = True
    again: Callable[[Case, float, int], View] | None = None

    def views(self, everyone: Sequence[Case], level: float) -> list[Shown]:
        """What the dial shows of these cases at a level."""
        found = [Shown(case, self.turn(case, level)) for case in everyone]
        if self.again is not None:
            found += [Shown(case, self.again(case, level, seed), seed) for seed in SEEDS for case in everyone]
        return found

    def shown(self, everyone: Sequence[Case]) -> str:
        """sha256 of what the dial shows of these cases: changes with the dial, its levels and the world."""
        views = [s.view for level in self.levels for s in self.views(everyone, level)]
        return digest([self.levels, self.portraits, [[digest_pixels(v.pixels), v.sample.prompt] for v in views]])


SEEDS = (1, 2)
"""The seeds after the first, for dials that need several."""
SHARES = tuple(k / 6 for k in range(7))


def cases(suite: str = "mini-refs", limit: int | None = None) -> list[Case]:
    """The suite's samples with their scenes."""
    entry = Registry().get_suite(suite)
    opened = entry.load().open_suite(suite)
    from layoutmark.datasets.mini import suites, world

    found: list[Case] = []
    for s in opened.samples[:limit]:
        found.append(Case(s, suites.scene_of(opened._row(s.id)), opened.references(s.id), found, world))
    return found


def true_view(case: Case) -> View:
    """The scene as it is."""
    return drawn(case, case.scene.things)


def drawn(case: Case, things: Sequence[Any]) -> View:
    scene = dataclasses.replace(case.scene, things=tuple(things))
    return View(case.world.render(scene).pixels, case.sample, scene)


def inside(case: Case, thing: Any) -> Any:
    """The thing, moved into the picture if its rectangle leaves it."""
    x0, y0, x1, y1 = case.world.extent(thing)
    grid = case.world.GRID
    x = thing.x + max(0, -x0) - max(0, x1 - grid)
    y = thing.y + max(0, -y0) - max(0, y1 - grid)
    return dataclasses.replace(thing, x=x, y=y)


def changed(case: Case, change: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> View:
    """The true picture with its grey values changed."""
    view = true_view(case)
    pixels = np.clip(np.rint(change(view.pixels.astype(np.float64))), 0, 255).astype(np.uint8)
    return dataclasses.replace(view, pixels=pixels)


def stretched(case: Case, canvas: npt.NDArray[Any], look: Any, category: str, box: tuple[int, int, int, int]) -> None:
    """Draw the sprite of a category with the style and colour of `look` over the rectangle `box` of a canvas."""
    world = case.world
    x0, y0, x1, y1 = box
    sprite = world._scaled(world.sprite(category, look.style, look.tint), y1 - y0, x1 - x0)
    left, top, right, bottom = max(0, x0), max(0, y0), min(world.GRID, x1), min(world.GRID, y1)
    part, view = sprite[top - y0 : bottom - y0, left - x0 : right - x0], canvas[top:bottom, left:right]
    alpha = part[..., 3:]
    canvas[top:bottom, left:right] = (view * (255 - alpha) + part[..., :3] * alpha + 127) // 255


def free_places(case: Case, taken: Sequence[Any], thing: Any) -> Any | None:
    """The thing where it touches nothing of `taken`; None if there is no such place."""
    places = (inside(case, dataclasses.replace(thing, x=x, y=y)) for x in range(4, 64, 4) for y in range(4, 64, 4))
    return next((p for p in places if not any(_touch(case, p, t) for t in taken)), None)


GAP = 2
"""Least pixels between what is put into a picture and anything else."""


def _touch(case: Case, a: Any, b: Any) -> bool:
    p, q = case.world.extent(a), case.world.extent(b)
    return min(p[2], q[2]) - max(p[0], q[0]) > -GAP and min(p[3], q[3]) - max(p[1], q[1]) > -GAP
