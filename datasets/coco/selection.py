"""Which pictures of COCO belong to which suite, with which instances and prompt.

A rule looks at one picture alone; where a suite has a size, pictures with the smallest sha256 of "SUITE/ID" are taken,
so that the choice follows from the rule and depends on no order and no chance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from layoutmark.ingest.ledger import Skip
from layoutmark.ingest.phrases import sentence
from layoutmark.layout import Canvas, Instance

from .annotations import Picture

NAMES_ONLY = "prompt made of category names"
SMALL_LEFT_OUT = "small instances left out of the layout"
SLOTS = 30
"""Instances that the published InstanceDiffusion takes."""
LEAST_SHARE = 0.02
"""Of a simple object, as a share of its picture."""
LEAST_SIDE = 1 / 8
"""Of a box in the style of COCO-MIG, as a share of its picture's side."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a suite takes of a picture; `group` is that of the suite's equal parts it may fill."""

    prompt: str
    instances: Sequence[Instance]
    canvas: Canvas
    flags: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One suite: what it takes of a picture (raises Skip), and how many pictures of each group, None for all."""

    take: Callable[[Picture], Choice]
    each: int | None = None


def everything(picture: Picture) -> Choice:
    """All instances, under the first caption."""
    _some(picture.instances)
    return Choice(*_prompt(picture, picture.instances), picture.canvas, _flags(picture))


def simple(picture: Picture) -> Choice:
    """One to three large objects of different categories, all named in one caption."""
    instances = picture.instances
    _some(instances)
    if len(instances) > 3:
        raise Skip("more than 3 instances")
    names = {i.category for i in instances}
    if len(names) < len(instances):
        raise Skip("a category occurs twice")
    if min(i.box.area for i in instances) < LEAST_SHARE:
        raise Skip(f"an instance covers less than {LEAST_SHARE:.0%} of the picture")
    for caption in picture.captions:
        if all(re.search(rf"\b{re.escape(name)}\b", caption, re.IGNORECASE) for name in names):
            return Choice(caption, instances, picture.canvas)
    raise Skip("no caption names every category")


def two_to_six(picture: Picture) -> Choice:
    """Two to six instances that are not small, under a prompt made of their names."""
    large = _large(picture, 2, 6)
    flags = (SMALL_LEFT_OUT,) if len(large) < len(picture.instances) else ()
    return Choice(sentence(i.category for i in large), large, picture.canvas, flags, str(len(large)))


def one_to_four(picture: Picture) -> Choice:
    """One to four instances that are not small, large enough to be shown, under the first caption."""
    large = _large(picture, 1, 4)
    flags = (SMALL_LEFT_OUT,) if len(large) < len(picture.instances) else ()
    return Choice(*_prompt(picture, large), picture.canvas, flags + _flags(picture))


def as_published(picture: Picture) -> Choice:
    """InstanceDiffusion's own evaluation: 512 x 512, caption directly followed by all names, 30 instances."""
    _some(picture.instances)
    names = ", ".join(i.category for i in picture.instances)
    kept = picture.instances[:SLOTS]
    flags = (f"instances after the first {SLOTS} left out",) if len(kept) < len(picture.instances) else ()
    caption = picture.captions[0] if picture.captions else ""
    return Choice(caption + names, kept, Canvas(512, 512), flags + (() if caption else (NAMES_ONLY,)))


RULES: Mapping[str, Rule] = {
    "coco-val2017": Rule(everything),
    "coco-val2017-500": Rule(everything, 500),
    "coco-200": Rule(simple, 200),
    "coco-mig-like": Rule(two_to_six, 160),
    "coco-instancediffusion": Rule(as_published),
    "coco-panoptic": Rule(everything),
    "coco-references-self": Rule(one_to_four, 200),
    "coco-references-cross": Rule(one_to_four, 200),
}


def chosen(suite: str, candidates: Mapping[str, Choice]) -> set[str]:
    """Ids of the pictures that a suite takes of those its rule admits, by id."""
    each = RULES[suite].each
    groups: dict[str, list[str]] = {}
    for name, choice in candidates.items():
        groups.setdefault(choice.group, []).append(name)
    return {name for names in groups.values() for name in sorted(names, key=lambda n: _place(suite, n))[:each]}


def _place(suite: str, picture: str) -> str:
    return sha256(f"{suite}/{picture}".encode()).hexdigest()


def _large(picture: Picture, least: int, most: int) -> list[Instance]:
    large = [i for i in picture.instances if min(i.box.x1 - i.box.x0, i.box.y1 - i.box.y0) >= LEAST_SIDE]
    if not least <= len(large) <= most:
        raise Skip(f"not {least} to {most} instances with sides of an eighth of the picture or more")
    return large


def _some(instances: Sequence[Instance]) -> None:
    if not instances:
        raise Skip("no usable instance")


def _prompt(picture: Picture, instances: Sequence[Instance]) -> tuple[str, Sequence[Instance]]:
    return picture.captions[0] if picture.captions else sentence(i.phrase for i in instances), instances


def _flags(picture: Picture) -> tuple[str, ...]:
    return () if picture.captions else (NAMES_ONLY,)
