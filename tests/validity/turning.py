"""Dials: one defect each, of increasing strength, applied to scenes of the miniature world with known ground truth.

A dial changes the scene, its pixels, or the prompt an image is scored with.  Everything that a level affects is
affected by every higher level too: objects and images are selected by random numbers that do not depend on the level.
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
    """One sample of the suite: its scene, its references, and all cases of the suite."""

    sample: Sample
    scene: Any
    references: Mapping[str, Reference]
    all_cases: Sequence[Case] = field(repr=False)
    world: Any

    def chance(self, *parts: str | int) -> float:
        """A fixed number in [0, 1) for an object or the image."""
        return derive_seed(self.sample.id, *parts) / 2**63


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What is scored: the image, the sample it is scored against, and the rendered scene."""

    pixels: Pixels
    sample: Sample
    scene: Any


@dataclass(frozen=True, slots=True)
class Shown:
    """A view of a case, as the image of one seed."""

    case: Case
    view: View
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Dial:
    """A defect: `turn(case, level)`, and its levels in increasing order, in `unit`.

    `portraits` selects the references for fidelity: the suite's portraits, or the crops of the true image.
    `render_seed`, if present, renders the images of further seeds.
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    turn: Callable[[Case, float], View]
    portraits: bool = True
    render_seed: Callable[[Case, float, int], View] | None = None

    def views(self, all_cases: Sequence[Case], level: float) -> list[Shown]:
        """The views of these cases at a level."""
        shown_views = [Shown(case, self.turn(case, level)) for case in all_cases]
        if self.render_seed is not None:
            shown_views += [
                Shown(case, self.render_seed(case, level, seed), seed) for seed in SEEDS for case in all_cases
            ]
        return shown_views

    def shown(self, all_cases: Sequence[Case]) -> str:
        """sha256 of all views of these cases; it changes with the dial, its levels and the world."""
        views = [s.view for level in self.levels for s in self.views(all_cases, level)]
        return digest([self.levels, self.portraits, [[digest_pixels(v.pixels), v.sample.prompt] for v in views]])


SEEDS = (1, 2)
"""Further seeds, for dials that need several."""
SHARES = tuple(k / 6 for k in range(7))


def cases(suite: str = "mini-refs", limit: int | None = None) -> list[Case]:
    """The suite's samples with their scenes."""
    entry = Registry().get_suite(suite)
    opened = entry.load().open_suite(suite)
    from layoutmark.datasets.mini import suites, world

    shown_views: list[Case] = []
    for s in opened.samples[:limit]:
        shown_views.append(Case(s, suites.make_scene(opened._row(s.id)), opened.references(s.id), shown_views, world))
    return shown_views


def true_view(case: Case) -> View:
    """The scene as it is."""
    return drawn(case, case.scene.things)


def drawn(case: Case, things: Sequence[Any]) -> View:
    scene = dataclasses.replace(case.scene, things=tuple(things))
    return View(case.world.render(scene).pixels, case.sample, scene)


def inside(case: Case, thing: Any) -> Any:
    """The object, moved into the image if its rectangle leaves it."""
    x0, y0, x1, y1 = case.world.sprite_bounds(thing)
    grid = case.world.GRID
    x = thing.x + max(0, -x0) - max(0, x1 - grid)
    y = thing.y + max(0, -y0) - max(0, y1 - grid)
    return dataclasses.replace(thing, x=x, y=y)


def changed(case: Case, change: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> View:
    """The true image with changed grey levels."""
    view = true_view(case)
    pixels = np.clip(np.rint(change(view.pixels.astype(np.float64))), 0, 255).astype(np.uint8)
    return dataclasses.replace(view, pixels=pixels)


def stretched(case: Case, canvas: npt.NDArray[Any], look: Any, category: str, box: tuple[int, int, int, int]) -> None:
    """Draw the sprite of a category with the style and colour of `look` over the rectangle `box` of a canvas."""
    world = case.world
    x0, y0, x1, y1 = box
    sprite = world._resize_sprite(world.draw_sprite(category, look.style, look.tint), y1 - y0, x1 - x0)
    left, top, right, bottom = max(0, x0), max(0, y0), min(world.GRID, x1), min(world.GRID, y1)
    part, view = sprite[top - y0 : bottom - y0, left - x0 : right - x0], canvas[top:bottom, left:right]
    alpha = part[..., 3:]
    canvas[top:bottom, left:right] = (view * (255 - alpha) + part[..., :3] * alpha + 127) // 255


def free_places(case: Case, taken: Sequence[Any], thing: Any) -> Any | None:
    """The object moved to where it touches nothing in `taken`; None if there is no such position."""
    places = (inside(case, dataclasses.replace(thing, x=x, y=y)) for x in range(4, 64, 4) for y in range(4, 64, 4))
    return next((p for p in places if not any(_touch(case, p, t) for t in taken)), None)


MIN_GAP = 2
"""Minimum distance in pixels between an added object and all others."""


def _touch(case: Case, a: Any, b: Any) -> bool:
    p, q = case.world.sprite_bounds(a), case.world.sprite_bounds(b)
    return min(p[2], q[2]) - max(p[0], q[0]) > -MIN_GAP and min(p[3], q[3]) - max(p[1], q[1]) > -MIN_GAP
