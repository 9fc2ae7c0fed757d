"""Rules for which COCO images belong to which suite, with which instances and prompt.

A rule looks at one image at a time.  If a suite has a size, the images with the smallest sha256 of "SUITE/ID" are
taken, so the selection depends on neither order nor chance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from layoutmark.ingest.ledger import Skip
from layoutmark.ingest.phrases import make_prompt
from layoutmark.layout import Canvas, Instance

from .annotations import AnnotatedImage

NAMES_ONLY = "prompt made of category names"
SMALL_LEFT_OUT = "small instances left out of the layout"
MAX_INSTANCES = 30
"""Limit of the published InstanceDiffusion."""
MIN_AREA_SHARE = 0.02
"""Smallest area of a simple object, as a fraction of the image's."""
MIN_SIDE_SHARE = 1 / 8
"""Shortest side of a large box, as a fraction of the image's."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The prompt and instances that a suite takes of one image.

    `group` is the part of the suite that the image counts towards, if the suite is divided into equal parts.
    """

    prompt: str
    instances: Sequence[Instance]
    canvas: Canvas
    flags: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True, slots=True)
class SelectionRule:
    """The rule of one suite."""

    select: Callable[[AnnotatedImage], Selection]
    """Selects from one image; raises Skip if the suite does not admit it."""
    max_per_group: int | None = None
    """Number of images in each group; None for no limit."""


def select_all(image: AnnotatedImage) -> Selection:
    """All instances, with the first caption as prompt."""
    _require_instances(image.instances)
    return Selection(_choose_prompt(image, image.instances), image.instances, image.canvas, _prompt_flags(image))


def select_simple(image: AnnotatedImage) -> Selection:
    """One to three large objects of different categories, all named in one caption."""
    instances = image.instances
    _require_instances(instances)
    if len(instances) > 3:
        raise Skip("more than 3 instances")
    names = {i.category for i in instances}
    if len(names) < len(instances):
        raise Skip("a category occurs twice")
    if min(i.box.area for i in instances) < MIN_AREA_SHARE:
        raise Skip(f"an instance covers less than {MIN_AREA_SHARE:.0%} of the picture")
    for caption in image.captions:
        if all(re.search(rf"\b{re.escape(name)}\b", caption, re.IGNORECASE) for name in names):
            return Selection(caption, instances, image.canvas)
    raise Skip("no caption names every category")


def select_two_to_six(image: AnnotatedImage) -> Selection:
    """Two to six large instances, with a prompt made of their names; grouped by their number."""
    large = _large_instances(image, 2, 6)
    flags = (SMALL_LEFT_OUT,) if len(large) < len(image.instances) else ()
    return Selection(make_prompt(i.category for i in large), large, image.canvas, flags, str(len(large)))


def select_one_to_four(image: AnnotatedImage) -> Selection:
    """One to four instances that are large enough to serve as references, with the first caption as prompt."""
    large = _large_instances(image, 1, 4)
    flags = (SMALL_LEFT_OUT,) if len(large) < len(image.instances) else ()
    return Selection(_choose_prompt(image, large), large, image.canvas, flags + _prompt_flags(image))


def select_as_published(image: AnnotatedImage) -> Selection:
    """InstanceDiffusion's own evaluation: 512 x 512, the caption directly followed by all names, 30 instances."""
    _require_instances(image.instances)
    names = ", ".join(i.category for i in image.instances)
    instances = image.instances[:MAX_INSTANCES]
    flags = (f"instances after the first {MAX_INSTANCES} left out",) if len(instances) < len(image.instances) else ()
    caption = image.captions[0] if image.captions else ""
    return Selection(caption + names, instances, Canvas(512, 512), flags + (() if caption else (NAMES_ONLY,)))


RULES: Mapping[str, SelectionRule] = {
    "coco-val2017": SelectionRule(select_all),
    "coco-val2017-500": SelectionRule(select_all, 500),
    "coco-200": SelectionRule(select_simple, 200),
    "coco-mig-like": SelectionRule(select_two_to_six, 160),
    "coco-instancediffusion": SelectionRule(select_as_published),
    "coco-panoptic": SelectionRule(select_all),
    "coco-references-self": SelectionRule(select_one_to_four, 200),
    "coco-references-cross": SelectionRule(select_one_to_four, 200),
}


def choose_images(suite: str, candidates: Mapping[str, Selection]) -> set[str]:
    """Ids of the images that the suite takes among the candidates (by id) that its rule admits."""
    limit = RULES[suite].max_per_group
    groups: dict[str, list[str]] = {}
    for image_id, selection in candidates.items():
        groups.setdefault(selection.group, []).append(image_id)
    return {
        image_id for ids in groups.values() for image_id in sorted(ids, key=lambda i: _hash_image(suite, i))[:limit]
    }


def _hash_image(suite: str, image_id: str) -> str:
    return sha256(f"{suite}/{image_id}".encode()).hexdigest()


def _large_instances(image: AnnotatedImage, minimum: int, maximum: int) -> list[Instance]:
    large = [i for i in image.instances if min(i.box.x1 - i.box.x0, i.box.y1 - i.box.y0) >= MIN_SIDE_SHARE]
    if not minimum <= len(large) <= maximum:
        raise Skip(f"not {minimum} to {maximum} instances with sides of an eighth of the picture or more")
    return large


def _require_instances(instances: Sequence[Instance]) -> None:
    if not instances:
        raise Skip("no usable instance")


def _choose_prompt(image: AnnotatedImage, instances: Sequence[Instance]) -> str:
    return image.captions[0] if image.captions else make_prompt(i.phrase for i in instances)


def _prompt_flags(image: AnnotatedImage) -> tuple[str, ...]:
    return () if image.captions else (NAMES_ONLY,)
