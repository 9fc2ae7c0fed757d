"""Dials: one defect each, from none to much, turned on scenes of the miniature world whose truth is known.

A dial changes the scene, its pixels, or the words a picture is judged by.  What a level hits, a higher level hits
too: things and images are drawn by numbers that do not depend on the level.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

from layoutmark.layout import Reference, Sample
from layoutmark.provenance import digest, digest_pixels
from layoutmark.shelf import Shelf
from layoutmark.statistics import derive_seed

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One sample of the suite: its scene, its references, and the whole suite's samples."""

    sample: Sample
    scene: Any
    references: Mapping[str, Reference]
    everyone: Sequence[Sample]
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
class Dial:
    """A defect: `turn(case, level)`, and its levels from none upwards, in `unit`.

    `portraits` says what fidelity is measured against: the suite's portraits, or else the crops of the true image.
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    turn: Callable[[Case, float], View]
    portraits: bool = True

    def shown(self, everyone: Sequence[Case]) -> str:
        """sha256 of what the dial shows of these cases: changes with the dial, its levels and the world."""
        views = [self.turn(case, level) for level in self.levels for case in everyone]
        return digest([self.levels, self.portraits, [[digest_pixels(v.pixels), v.sample.prompt] for v in views]])


GAP = 2
"""Least pixels between a copy and anything else."""
SHARES = tuple(k / 6 for k in range(7))


def cases(suite: str = "mini-refs", limit: int | None = None) -> list[Case]:
    """The suite's samples with their scenes."""
    entry = Shelf().get_suite(suite)
    opened = entry.load().open_suite(suite)
    from layoutmark.datasets.mini import suites, world

    everyone = opened.samples[:limit]
    return [Case(s, suites.scene_of(opened._row(s.id)), opened.references(s.id), everyone, world) for s in everyone]


def true_view(case: Case) -> View:
    """The scene as it is."""
    return _drawn(case, case.scene.things)


def _drawn(case: Case, things: Sequence[Any]) -> View:
    scene = dataclasses.replace(case.scene, things=tuple(things))
    return View(case.world.render(scene).pixels, case.sample, scene)


def _inside(case: Case, thing: Any) -> Any:
    """The thing, moved into the picture if its rectangle leaves it."""
    x0, y0, x1, y1 = case.world.extent(thing)
    grid = case.world.GRID
    x = thing.x + max(0, -x0) - max(0, x1 - grid)
    y = thing.y + max(0, -y0) - max(0, y1 - grid)
    return dataclasses.replace(thing, x=x, y=y)


def shift(case: Case, level: float) -> View:
    """Every thing `level` pixels to the side that has more room."""
    side = [1 if t.x < case.world.GRID / 2 else -1 for t in case.scene.things]
    moved = [dataclasses.replace(t, x=t.x + int(level) * s) for t, s in zip(case.scene.things, side, strict=True)]
    return _drawn(case, [_inside(case, t) for t in moved])


def scale(case: Case, level: float) -> View:
    """Every thing smaller by the share `level`, about its centre."""
    return _drawn(case, [dataclasses.replace(t, size=max(4, round(t.size * (1 - level)))) for t in case.scene.things])


def drop(case: Case, level: float) -> View:
    """Things left out."""
    return _drawn(case, [t for k, t in enumerate(case.scene.things) if case.chance("drop", k) >= level])


def duplicate(case: Case, level: float) -> View:
    """Things drawn twice, the copy where it touches nothing else; a thing without such a place has no copy."""
    taken, copies = list(case.scene.things), []
    for k, thing in enumerate(case.scene.things):
        places = [_inside(case, dataclasses.replace(thing, x=x, y=y)) for x in range(4, 64, 4) for y in range(4, 64, 4)]
        free = next((p for p in places if not any(_touch(case, p, t) for t in taken)), None)
        if free is not None:
            # Places are the same at every level, so that more copies are the fewer and others.
            taken.append(free)
            copies += [free] if case.chance("duplicate", k) < level else []
    return _drawn(case, [*copies, *case.scene.things])


def _touch(case: Case, a: Any, b: Any) -> bool:
    p, q = case.world.extent(a), case.world.extent(b)
    return min(p[2], q[2]) - max(p[0], q[0]) > -GAP and min(p[3], q[3]) - max(p[1], q[1]) > -GAP


def wrong_class(case: Case, level: float) -> View:
    """Things of another category, in the same place and colour."""
    used = {t.category for t in case.scene.things}
    free = [c for c in case.world.CATEGORIES if c not in used]
    things = [
        dataclasses.replace(t, category=free[int(case.chance("which", k) * len(free))])
        if case.chance("class", k) < level
        else t
        for k, t in enumerate(case.scene.things)
    ]
    return _drawn(case, things)


def swap_identities(case: Case, level: float) -> View:
    """In an image, each thing has the style and colour of the next one, stretched over its own rectangle."""
    if case.chance("swap") >= level:
        return true_view(case)
    things, world = case.scene.things, case.world
    canvas = world.background(case.scene.background, case.scene.pattern)
    for thing, look in zip(things, [*things[1:], things[0]], strict=True):
        x0, y0, x1, y1 = world.extent(thing)
        sprite = world._scaled(world.sprite(thing.category, look.style, look.tint), y1 - y0, x1 - x0)
        left, top, right, bottom = max(0, x0), max(0, y0), min(world.GRID, x1), min(world.GRID, y1)
        part, view = sprite[top - y0 : bottom - y0, left - x0 : right - x0], canvas[top:bottom, left:right]
        alpha = part[..., 3:]
        canvas[top:bottom, left:right] = (view * (255 - alpha) + part[..., :3] * alpha + 127) // 255
    return View(canvas.astype(np.uint8), case.sample, case.scene)


def wrong_colour(case: Case, level: float) -> View:
    """Things in the next of the world's colours."""
    tints = list(case.world.TINTS)
    things = [
        dataclasses.replace(t, tint=tints[(tints.index(t.tint) + 1) % len(tints)])
        if case.chance("colour", k) < level
        else t
        for k, t in enumerate(case.scene.things)
    ]
    return _drawn(case, things)


def _changed(case: Case, change: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]) -> View:
    view = true_view(case)
    pixels = np.clip(np.rint(change(view.pixels.astype(np.float64))), 0, 255).astype(np.uint8)
    return dataclasses.replace(view, pixels=pixels)


def blur(case: Case, level: float) -> View:
    """Gaussian blur of `level` pixels."""
    return _changed(case, lambda p: gaussian_filter(p, (level, level, 0)))


def noise(case: Case, level: float) -> View:
    """Normal noise of standard deviation `level`; one pattern per image."""
    pattern = np.random.default_rng(derive_seed(case.sample.id, "noise")).normal(size=true_view(case).pixels.shape)
    return _changed(case, lambda p: p + level * pattern)


def colour_cast(case: Case, level: float) -> View:
    """The whole picture mixed with pink, which nothing should be."""
    return _changed(case, lambda p: (1 - level) * p + level * np.array([255.0, 0.0, 128.0]))


def greyed(case: Case, level: float) -> View:
    """The whole picture mixed with its luma."""
    return _changed(case, lambda p: (1 - level) * p + level * (p @ np.array([0.299, 0.587, 0.114]))[..., None])


def harder(case: Case, level: float) -> View:
    """Contrast raised about mid-grey by the factor `level`."""
    return _changed(case, lambda p: 127.5 + level * (p - 127.5))


def harder_colour(case: Case, level: float) -> View:
    """Differences from luma raised by the factor `level`."""
    return _changed(case, lambda p: (1 - level) * (p @ np.array([0.299, 0.587, 0.114]))[..., None] + level * p)


def paste_reference(case: Case, level: float) -> View:
    """Things replaced by their portraits, cut to the subject and stretched over the box."""
    view = true_view(case)
    pixels = view.pixels.copy()
    height, width = pixels.shape[:2]
    for k, instance in enumerate(case.sample.layout.instances):
        if case.chance("paste", k) < level and instance.reference is not None:
            x0, y0, x1, y1 = instance.box.cells(width, height)
            image = Image.fromarray(case.references[instance.reference].image)
            pixels[y0:y1, x0:x1] = np.asarray(image.resize((x1 - x0, y1 - y0), Image.Resampling.BICUBIC))
    return dataclasses.replace(view, pixels=pixels)


def wrong_prompt(case: Case, level: float) -> View:
    """Images judged by the words of another sample."""
    if case.chance("prompt") >= level:
        return true_view(case)
    at = [s.id for s in case.everyone].index(case.sample.id)
    other = case.everyone[(at + len(case.everyone) // 2) % len(case.everyone)]
    return dataclasses.replace(true_view(case), sample=dataclasses.replace(case.sample, prompt=other.prompt))


DIALS = (
    Dial("shift", "pixels", (0, 2, 4, 6, 8, 10, 12), shift),
    Dial("shift, true crops", "pixels", (0, 2, 4, 6, 8, 10, 12), shift, portraits=False),
    Dial("scale", "share smaller", (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6), scale),
    Dial("scale, true crops", "share smaller", (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6), scale, portraits=False),
    Dial("drop", "share of things", SHARES, drop),
    Dial("duplicate", "share of things", SHARES, duplicate),
    Dial("wrong class", "share of things", SHARES, wrong_class),
    Dial("swapped identities", "share of images", SHARES, swap_identities),
    Dial("wrong colour", "share of things", SHARES, wrong_colour),
    Dial("pasted reference", "share of things", SHARES, paste_reference),
    Dial("wrong prompt", "share of images", SHARES, wrong_prompt),
    Dial("blur", "pixels", (0, 0.8, 1.6, 2.4, 3.2, 4.0, 4.8), blur),
    Dial("noise", "grey values", (0, 12, 24, 36, 48, 60, 72), noise),
    Dial("colour cast", "share of pink", (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6), colour_cast),
    Dial("greyed", "share of luma", SHARES, greyed),
    Dial("harder contrast", "factor", (1, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2), harder),
    Dial("harder colour", "factor", (1, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2), harder_colour),
)
