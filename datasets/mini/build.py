"""The miniature suites, and the world that training draws from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layoutmark.api import Pixels, Suite

from . import world
from .caption import FILLERS, phrase, prompt, training_caption
from .compose import any_wish, compose
from .deterministic import Draw
from .suites import open_listed
from .world import BACKGROUNDS, CATEGORIES, GRID, Scene, Thing

categories: tuple[str, ...] = CATEGORIES
fillers: tuple[str, ...] = tuple(FILLERS)


def open_suite(name: str) -> Suite:
    """Open `mini`, `mini-refs` or `mini-dev`: fixed scenes, checked against their sha256 while opening."""
    return open_listed(name)


def draw(seed: int, side: int = GRID) -> Mapping[str, Any]:
    """One training picture with four captions, as `layoutmark.training.data.World` describes."""
    stream = Draw(seed)
    scene = compose(any_wish(stream), stream)
    picture = world.render(scene, side)
    return {
        "pixels": picture.pixels,
        "captions": [prompt(scene), *(training_caption(scene, stream) for _ in range(3))],
        "things": [
            {
                "category": thing.category,
                "style": thing.style,
                "tint": thing.tint,
                "phrase": phrase(thing),
                "box": box_of(mask),
                "mask": rle_of(mask),
            }
            for thing, mask in zip(scene.things, picture.masks, strict=True)
        ],
    }


def portraits() -> dict[tuple[str, str, str], Pixels]:
    """Every identity (category, style, tint) alone, cut to its visible box, over backgrounds in turn."""
    names = [(c, s, t) for c in CATEGORIES for s in world.STYLES for t in world.TINTS]
    found = {}
    for i, name in enumerate(names):
        thing = Thing(*name, GRID // 2, GRID // 2, 3 * GRID // 4)
        picture = world.render(Scene(BACKGROUNDS[i % len(BACKGROUNDS)], i, (thing,)))
        x0, y0, x1, y1 = (round(c * GRID) for c in box_of(picture.masks[0]))
        found[name] = picture.pixels[y0:y1, x0:x1]
    return found


def box_of(mask: Any) -> list[float]:
    """Tight box of a visible mask, fractions xyxy."""
    ys, xs = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    height, width = mask.shape
    return [xs[0] / width, ys[0] / height, (xs[-1] + 1) / width, (ys[-1] + 1) / height]


def rle_of(mask: Any) -> list[Any]:
    """A mask as plain data [height, width, COCO counts]."""
    from layoutmark.layout import Mask

    value = Mask.from_array(mask)
    return [value.height, value.width, value.counts]
