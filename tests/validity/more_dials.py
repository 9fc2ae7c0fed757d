"""Dials for what the first ones leave alone: styles, doubles, mergers, backgrounds, sets of pictures, words, seeds."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
from turning import Case, View, drawn, free_places, inside, stretched, true_view

from layoutmark.layout import Box, Canvas, Instance, Layout, Sample

FIRST = 9_000_000
"""First seed of the crowd's scenes: no suite, no training, no model card and no pool draws from there."""
LONG = 80
"""Words that a CLIP of 77 tokens cannot read to the end."""


def crowd(like: Case, count: int = 2048) -> list[Case]:
    """Scenes as training draws them, more than a suite has; their samples ask for nothing in particular."""
    from layoutmark.datasets.mini.compose import any_wish, compose
    from layoutmark.datasets.mini.deterministic import Draw

    layout = Layout(Canvas(64, 64), (Instance("0", "a thing", "cat", Box(0.2, 0.2, 0.7, 0.7)),))
    found: list[Case] = []
    for number in range(count):
        stream = Draw(FIRST + number)
        sample = Sample(f"crowd-{number:05d}", f"scene {number}", layout)
        found.append(Case(sample, compose(any_wish(stream), stream), {}, found, like.world))
    return found


def wrong_style(case: Case, level: float) -> View:
    """Things in the other of the world's two styles, stretched over their own rectangles."""
    canvas = case.world.background(case.scene.background, case.scene.pattern)
    styles = case.world.STYLES
    for k, thing in enumerate(case.scene.things):
        other = styles[(styles.index(thing.style) + 1) % len(styles)]
        look = dataclasses.replace(thing, style=other) if case.chance("style", k) < level else thing
        stretched(case, canvas, look, thing.category, case.world.extent(thing))
    return View(canvas.astype(np.uint8), case.sample, case.scene)


def double(case: Case, level: float) -> View:
    """Things drawn twice, the copy a quarter of the thing's size beside it and behind it."""
    things = []
    for k, thing in enumerate(case.scene.things):
        if case.chance("double", k) < level:
            side = 1 if thing.x < case.world.GRID / 2 else -1
            things.append(inside(case, dataclasses.replace(thing, x=thing.x + side * max(2, round(thing.size / 4)))))
        things.append(thing)
    return drawn(case, things)


def merge(case: Case, level: float) -> View:
    """Two things of one category drawn as one that covers both."""
    things, world = list(case.scene.things), case.world
    pairs = [(i, j) for i, j in combinations(range(len(things)), 2) if things[i].category == things[j].category]
    merged, gone = {}, set()
    for i, j in pairs:
        if case.chance("merge", i, j) < level and not {i, j} & (gone | set(merged)):
            merged[i] = j
            gone.add(j)
    if not merged:
        return true_view(case)
    canvas = world.background(case.scene.background, case.scene.pattern)
    for k, thing in enumerate(things):
        if k in gone:
            continue
        x0, y0, x1, y1 = world.extent(thing)
        if k in merged:
            a0, b0, a1, b1 = world.extent(things[merged[k]])
            x0, y0, x1, y1 = min(x0, a0), min(y0, b0), max(x1, a1), max(y1, b1)
        stretched(case, canvas, thing, thing.category, (x0, y0, x1, y1))
    scene = dataclasses.replace(case.scene, things=tuple(t for k, t in enumerate(things) if k not in gone))
    return View(canvas.astype(np.uint8), case.sample, scene)


def add_things(case: Case, level: float) -> View:
    """A thing of a category that nobody asked for, where it touches nothing; none where there is no such place."""
    if case.chance("added") >= level:
        return true_view(case)
    things = case.scene.things
    used, world = {t.category for t in things}, case.world
    free = [c for c in world.CATEGORIES if c not in used]
    thing = dataclasses.replace(things[0], category=free[int(case.chance("which added") * len(free))], size=16)
    place = free_places(case, things, thing)
    return true_view(case) if place is None else drawn(case, [*things, place])


def other_background(case: Case, level: float) -> View:
    """The same things over the next of the world's backgrounds."""
    if case.chance("background") >= level:
        return true_view(case)
    kinds = case.world.BACKGROUNDS
    other = kinds[(kinds.index(case.scene.background) + 1) % len(kinds)]
    scene = dataclasses.replace(case.scene, background=other)
    return View(case.world.render(scene).pixels, case.sample, scene)


def other_picture(case: Case, level: float) -> View:
    """Images that show one another's pictures, in a cycle: as a set the pictures stay what they were."""
    hit = [c for c in case.everyone if c.chance("picture") < level]
    if case not in hit:
        return true_view(case)
    other = true_view(hit[(hit.index(case) + 1) % len(hit)])
    return dataclasses.replace(other, sample=case.sample)


def long_prompt(case: Case, level: float) -> View:
    """Prompts with more words than a CLIP reads."""
    if case.chance("long") >= level:
        return true_view(case)
    prompt = " ".join([case.sample.prompt, *["very"] * LONG])
    return dataclasses.replace(true_view(case), sample=dataclasses.replace(case.sample, prompt=prompt))


def first_seed(case: Case, level: float) -> View:
    """The first seed's picture is the true one."""
    return true_view(case)


def further_seed(case: Case, level: float, seed: int) -> View:
    """Another seed: things have other colours and styles, but for those that look the same in every seed."""
    tints, styles = list(case.world.TINTS), case.world.STYLES
    things = []
    for k, thing in enumerate(case.scene.things):
        if case.chance("seed", k) >= level:
            tint = tints[(tints.index(thing.tint) + seed) % len(tints)]
            style = styles[(styles.index(thing.style) + seed) % len(styles)]
            thing = dataclasses.replace(thing, tint=tint, style=style)
        things.append(thing)
    return drawn(case, things)
