"""The miniature suites, and the miniature world as a source of training images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layoutmark.api import Pixels, Suite

from . import world
from .caption import FILLER_WORDS, scene_prompt, thing_phrase, write_training_caption
from .compose import compose_scene, draw_training_spec
from .deterministic import RandomStream
from .suites import open_frozen_suite
from .world import BACKGROUNDS, CATEGORIES, GRID, Scene, Thing

categories: tuple[str, ...] = CATEGORIES
fillers: tuple[str, ...] = tuple(FILLER_WORDS)


def open_suite(name: str) -> Suite:
    """Open `mini`, `mini-refs` or `mini-dev`; the scenes are checked against their published sha256."""
    return open_frozen_suite(name)


def draw(seed: int, side: int = GRID) -> Mapping[str, Any]:
    """Draw one training image with four captions, as described in `layoutmark.training.data.World`."""
    stream = RandomStream(seed)
    scene = compose_scene(draw_training_spec(stream), stream)
    rendered = world.render(scene, side)
    return {
        "pixels": rendered.pixels,
        "captions": [scene_prompt(scene), *(write_training_caption(scene, stream) for _ in range(3))],
        "things": [
            {
                "category": thing.category,
                "style": thing.style,
                "tint": thing.tint,
                "phrase": thing_phrase(thing),
                "box": tight_box(mask),
                "mask": encode_mask(mask),
            }
            for thing, mask in zip(scene.things, rendered.masks, strict=True)
        ],
    }


def portraits() -> dict[tuple[str, str, str], Pixels]:
    """An image of each identity (category, style, tint), cropped to its visible box, on varying backgrounds."""
    identities = [(c, s, t) for c in CATEGORIES for s in world.STYLES for t in world.TINTS]
    images = {}
    for i, identity in enumerate(identities):
        thing = Thing(*identity, GRID // 2, GRID // 2, 3 * GRID // 4)
        rendered = world.render(Scene(BACKGROUNDS[i % len(BACKGROUNDS)], i, (thing,)))
        x0, y0, x1, y1 = (round(c * GRID) for c in tight_box(rendered.masks[0]))
        images[identity] = rendered.pixels[y0:y1, x0:x1]
    return images


def tight_box(mask: Any) -> list[float]:
    """Bounding box of a mask: x0, y0, x1, y1 in fractions."""
    ys, xs = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    height, width = mask.shape
    return [xs[0] / width, ys[0] / height, (xs[-1] + 1) / width, (ys[-1] + 1) / height]


def encode_mask(mask: Any) -> list[Any]:
    """A mask as plain data: height, width and COCO's compressed run lengths."""
    from layoutmark.layout import Mask

    encoded = Mask.from_array(mask)
    return [encoded.height, encoded.width, encoded.counts]
