"""Further dials: styles, duplicates, mergers, backgrounds, image sets, prompts and seeds."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
from turning import Case, View, drawn, free_places, inside, stretched, true_view

from layoutmark.layout import Box, Canvas, Instance, Layout, Sample

FIRST_CROWD_SEED = 9_000_000
"""First seed of the crowd scenes; suites, training, model cards and pools use other ranges."""
EXTRA_WORDS = 80
"""Number of words that exceeds CLIP's 77 tokens."""


def crowd(like: Case, count: int = 2048) -> list[Case]:
    """Many scenes from the training distribution; their samples share one placeholder layout."""
    from layoutmark.datasets.mini.compose import compose_scene, draw_training_spec
    from layoutmark.datasets.mini.deterministic import RandomStream

    layout = Layout(Canvas(64, 64), (Instance("0", "a thing", "cat", Box(0.2, 0.2, 0.7, 0.7)),))
    crowd_cases: list[Case] = []
    for number in range(count):
        stream = RandomStream(FIRST_CROWD_SEED + number)
        sample = Sample(f"crowd-{number:05d}", f"scene {number}", layout)
        crowd_cases.append(Case(sample, compose_scene(draw_training_spec(stream), stream), {}, crowd_cases, like.world))
    return crowd_cases


def wrong_style(case: Case, level: float) -> View:
    """Objects in the world's other style, stretched to their own rectangles."""
    canvas = case.world.draw_background(case.scene.background, case.scene.pattern)
    styles = case.world.STYLES
    for k, thing in enumerate(case.scene.things):
        other = styles[(styles.index(thing.style) + 1) % len(styles)]
        look = dataclasses.replace(thing, style=other) if case.chance("style", k) < level else thing
        stretched(case, canvas, look, thing.category, case.world.sprite_bounds(thing))
    return View(canvas.astype(np.uint8), case.sample, case.scene)


def double(case: Case, level: float) -> View:
    """Objects rendered twice, with the copy shifted by a quarter of their size, behind them."""
    things = []
    for k, thing in enumerate(case.scene.things):
        if case.chance("double", k) < level:
            side = 1 if thing.x < case.world.GRID / 2 else -1
            things.append(inside(case, dataclasses.replace(thing, x=thing.x + side * max(2, round(thing.size / 4)))))
        things.append(thing)
    return drawn(case, things)


def merge(case: Case, level: float) -> View:
    """Two objects of one category rendered as a single object that covers both."""
    things, world = list(case.scene.things), case.world
    pairs = [(i, j) for i, j in combinations(range(len(things)), 2) if things[i].category == things[j].category]
    merged, removed = {}, set()
    for i, j in pairs:
        if case.chance("merge", i, j) < level and not {i, j} & (removed | set(merged)):
            merged[i] = j
            removed.add(j)
    if not merged:
        return true_view(case)
    canvas = world.draw_background(case.scene.background, case.scene.pattern)
    for k, thing in enumerate(things):
        if k in removed:
            continue
        x0, y0, x1, y1 = world.sprite_bounds(thing)
        if k in merged:
            a0, b0, a1, b1 = world.sprite_bounds(things[merged[k]])
            x0, y0, x1, y1 = min(x0, a0), min(y0, b0), max(x1, a1), max(y1, b1)
        stretched(case, canvas, thing, thing.category, (x0, y0, x1, y1))
    scene = dataclasses.replace(case.scene, things=tuple(t for k, t in enumerate(things) if k not in removed))
    return View(canvas.astype(np.uint8), case.sample, scene)


def add_things(case: Case, level: float) -> View:
    """An extra object of an unrequested category where it touches nothing, if there is such a position."""
    if case.chance("added") >= level:
        return true_view(case)
    things = case.scene.things
    used, world = {t.category for t in things}, case.world
    free = [c for c in world.CATEGORIES if c not in used]
    thing = dataclasses.replace(things[0], category=free[int(case.chance("which added") * len(free))], size=16)
    place = free_places(case, things, thing)
    return true_view(case) if place is None else drawn(case, [*things, place])


def other_background(case: Case, level: float) -> View:
    """The same objects on the next background of the world."""
    if case.chance("background") >= level:
        return true_view(case)
    kinds = case.world.BACKGROUNDS
    other = kinds[(kinds.index(case.scene.background) + 1) % len(kinds)]
    scene = dataclasses.replace(case.scene, background=other)
    return View(case.world.render(scene).pixels, case.sample, scene)


def exchange_images(case: Case, level: float) -> View:
    """Samples exchange their images in a cycle, so the set of images stays the same."""
    affected = [c for c in case.all_cases if c.chance("picture") < level]
    if case not in affected:
        return true_view(case)
    other = true_view(affected[(affected.index(case) + 1) % len(affected)])
    return dataclasses.replace(other, sample=case.sample)


def long_prompt(case: Case, level: float) -> View:
    """Prompts with more words than CLIP reads."""
    if case.chance("long") >= level:
        return true_view(case)
    prompt = " ".join([case.sample.prompt, *["very"] * EXTRA_WORDS])
    return dataclasses.replace(true_view(case), sample=dataclasses.replace(case.sample, prompt=prompt))


def true_first_seed(case: Case, level: float) -> View:
    """The image of the first seed is the true image."""
    return true_view(case)


def other_seed(case: Case, level: float, seed: int) -> View:
    """Another seed: objects change colour and style, except those that look the same in every seed."""
    tints, styles = list(case.world.TINTS), case.world.STYLES
    things = []
    for k, thing in enumerate(case.scene.things):
        if case.chance("seed", k) >= level:
            tint = tints[(tints.index(thing.tint) + seed) % len(tints)]
            style = styles[(styles.index(thing.style) + seed) % len(styles)]
            thing = dataclasses.replace(thing, tint=tint, style=style)
        things.append(thing)
    return drawn(case, things)
