"""Dials: defects of objects, pixels and prompts, and the list of all dials."""

from __future__ import annotations

import dataclasses

import more_dials as more
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from turning import SHARES, Case, Dial, Shown, View, cases, changed, drawn, free_places, inside, stretched, true_view

from layoutmark.statistics import derive_seed

__all__ = ["CROWD", "DIALS", "SHARES", "Case", "Dial", "Shown", "View", "cases", "true_view"]


def shift(case: Case, level: float) -> View:
    """Every object shifted by `level` pixels to the side with more room."""
    side = [1 if t.x < case.world.GRID / 2 else -1 for t in case.scene.things]
    shifted = [dataclasses.replace(t, x=t.x + int(level) * s) for t, s in zip(case.scene.things, side, strict=True)]
    return drawn(case, [inside(case, t) for t in shifted])


def scale(case: Case, level: float) -> View:
    """Every object smaller by the share `level`, about its centre."""
    return drawn(case, [dataclasses.replace(t, size=max(4, round(t.size * (1 - level)))) for t in case.scene.things])


def drop(case: Case, level: float) -> View:
    """Objects omitted."""
    return drawn(case, [t for k, t in enumerate(case.scene.things) if case.chance("drop", k) >= level])


def duplicate(case: Case, level: float) -> View:
    """Objects rendered twice, with the copy where it touches nothing; objects without such a position get no copy."""
    taken, copies = list(case.scene.things), []
    for k, thing in enumerate(case.scene.things):
        free = free_places(case, taken, thing)
        if free is not None:
            # Positions are the same at every level, so higher levels only add copies.
            taken.append(free)
            copies += [free] if case.chance("duplicate", k) < level else []
    return drawn(case, [*copies, *case.scene.things])


def wrong_class(case: Case, level: float) -> View:
    """Objects of another category, in the same position and colour."""
    used = {t.category for t in case.scene.things}
    free = [c for c in case.world.CATEGORIES if c not in used]
    things = [
        dataclasses.replace(t, category=free[int(case.chance("which", k) * len(free))])
        if case.chance("class", k) < level
        else t
        for k, t in enumerate(case.scene.things)
    ]
    return drawn(case, things)


def swap_identities(case: Case, level: float) -> View:
    """Each object gets the style and colour of the next one in the image, stretched to its own rectangle."""
    if case.chance("swap") >= level:
        return true_view(case)
    things, world = case.scene.things, case.world
    canvas = world.draw_background(case.scene.background, case.scene.pattern)
    for thing, look in zip(things, [*things[1:], things[0]], strict=True):
        stretched(case, canvas, look, thing.category, world.sprite_bounds(thing))
    return View(canvas.astype(np.uint8), case.sample, case.scene)


def wrong_colour(case: Case, level: float) -> View:
    """Objects in the next colour of the world."""
    tints = list(case.world.TINTS)
    things = [
        dataclasses.replace(t, tint=tints[(tints.index(t.tint) + 1) % len(tints)])
        if case.chance("colour", k) < level
        else t
        for k, t in enumerate(case.scene.things)
    ]
    return drawn(case, things)


def blur(case: Case, level: float) -> View:
    """Gaussian blur of `level` pixels."""
    return changed(case, lambda p: gaussian_filter(p, (level, level, 0)))


def noise(case: Case, level: float) -> View:
    """Normal noise of standard deviation `level`; one pattern per image."""
    pattern = np.random.default_rng(derive_seed(case.sample.id, "noise")).normal(size=true_view(case).pixels.shape)
    return changed(case, lambda p: p + level * pattern)


def colour_cast(case: Case, level: float) -> View:
    """The image blended with pink, a colour that no object should have."""
    return changed(case, lambda p: (1 - level) * p + level * np.array([255.0, 0.0, 128.0]))


def greyed(case: Case, level: float) -> View:
    """The image blended with its luma."""
    return changed(case, lambda p: (1 - level) * p + level * (p @ np.array([0.299, 0.587, 0.114]))[..., None])


def harder(case: Case, level: float) -> View:
    """Contrast raised about mid-grey by the factor `level`."""
    return changed(case, lambda p: 127.5 + level * (p - 127.5))


def harder_colour(case: Case, level: float) -> View:
    """Differences from luma raised by the factor `level`."""
    return changed(case, lambda p: (1 - level) * (p @ np.array([0.299, 0.587, 0.114]))[..., None] + level * p)


def paste_reference(case: Case, level: float) -> View:
    """Objects replaced by their portraits, cropped to the subject and stretched to the box."""
    view = true_view(case)
    pixels = view.pixels.copy()
    height, width = pixels.shape[:2]
    for k, instance in enumerate(case.sample.layout.instances):
        if case.chance("paste", k) < level and instance.reference is not None:
            x0, y0, x1, y1 = instance.box.to_cells(width, height)
            image = Image.fromarray(case.references[instance.reference].image)
            pixels[y0:y1, x0:x1] = np.asarray(image.resize((x1 - x0, y1 - y0), Image.Resampling.BICUBIC))
    return dataclasses.replace(view, pixels=pixels)


def wrong_prompt(case: Case, level: float) -> View:
    """Images scored with the prompt of another sample."""
    if case.chance("prompt") >= level:
        return true_view(case)
    at = [c.sample.id for c in case.all_cases].index(case.sample.id)
    other = case.all_cases[(at + len(case.all_cases) // 2) % len(case.all_cases)].sample
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
    Dial("wrong style", "share of things", SHARES, more.wrong_style),
    Dial("doubled", "share of things", SHARES, more.double),
    Dial("merged", "share of pairs", SHARES, more.merge),
    Dial("added things", "share of images", SHARES, more.add_things),
    Dial("other background", "share of images", SHARES, more.other_background),
    Dial("other images", "share of images", SHARES, more.exchange_images),
    Dial("long prompts", "share of images", SHARES, more.long_prompt),
    Dial("same in every seed", "share of things", SHARES, more.true_first_seed, render_seed=more.other_seed),
)
CROWD = (Dial("blur, 2,048 scenes", "pixels", (0, 0.8, 1.6, 2.4, 3.2, 4.0, 4.8), blur),)
"""Dials for metrics that need many images; `more_dials.crowd` provides the scenes."""
