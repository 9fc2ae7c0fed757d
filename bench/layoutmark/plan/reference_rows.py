"""The rows around the methods: what bounds the table, and adversaries, which must never win it.

Their pictures need no generator.  An adversary obeys nothing; it is drawn to please the scorers, out of the looks that
the suite offers: portraits, else what lies in the targets' boxes of the true images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from layoutmark.api import Pixels, Suite
from layoutmark.layout import Instance, Sample
from layoutmark.provenance import digest

BASE = "base"
CEILING, SHUFFLED, BLANK = "ceiling", "floor-shuffled", "floor-blank"
FLOOR, ADVERSARY = "floor-", "adversary-"
CONSTANT, PASTED, GIANT, BAIT = (ADVERSARY + kind for kind in ("constant", "pasted", "giant", "bait"))
BOUNDS = {
    CEILING: "True images: what the scorers say when nothing is wrong",
    SHUFFLED: "Images of base, judged by other samples' layouts and prompts",
    BLANK: "One grey picture for every sample",
}
ADVERSARIES = {
    CONSTANT: "One true picture of the suite for every sample",
    PASTED: "The reference of each target pasted over its box, on grey",
    GIANT: "The first target's reference over the whole picture",
    BAIT: "The references of all targets in a grid over the whole picture, boxes ignored",
}
TITLES = {**BOUNDS, **ADVERSARIES}
GREY = 128
TILES = 4
"""Things of the bait on each side of the picture."""


def row_names(suite: Suite, methods: Sequence[str], adversaries: bool) -> tuple[list[str], dict[str, str]]:
    """The rows that this suite and these methods allow, and those asked for that it does not, with the reason."""
    first = suite.samples[0]
    true = suite.true_image(first.id) is not None
    names = [CEILING] if true else []
    names += [SHUFFLED] if BASE in methods and len(suite.samples) > 1 else []
    names.append(BLANK)
    if not adversaries:
        return names, {}
    if true or suite.references(first.id):
        return [*names, *ADVERSARIES], {}
    return names, dict.fromkeys(ADVERSARIES, f"suite {suite.name!r} has neither true images nor references")


def shuffled(samples: Sequence[Sample]) -> dict[str, str]:
    """For each sample id the id whose picture it is judged with: one fixed cycle through all samples."""
    order = sorted((s.id for s in samples), key=lambda i: digest(["shuffle", i]))
    return dict(zip(order, order[1:] + order[:1], strict=True))


def drawn(name: str, suite: Suite, sample: Sample) -> Pixels | None:
    """The picture (h, w, 3) of a row for a sample; None where what it is made of is not there.

    `name` is any row but `floor-shuffled`, whose pictures a generator makes.
    """
    height, width = sample.layout.canvas.height, sample.layout.canvas.width
    if name == CEILING:
        return suite.true_image(sample.id)
    picture: Pixels = np.full((height, width, 3), GREY, dtype=np.uint8)
    if name == BLANK:
        return picture
    if name == CONSTANT:
        first = suite.samples[0]
        same = suite.true_image(first.id)
        if same is None:
            same = next((r.image for r in suite.references(first.id).values()), None)
        return None if same is None else _stretched(same, width, height)
    instances = sample.layout.instances
    looks = [_look(suite, sample, i) for i in instances]
    if not instances or any(look is None for look in looks):
        return None
    places = {
        PASTED: [i.box.cells(width, height) for i in instances],
        GIANT: [(0, 0, width, height)],
        BAIT: [_tile(k % TILES, k // TILES, width, height) for k in range(TILES * TILES)],
    }[name]
    for k, (x0, y0, x1, y1) in enumerate(places):
        look = looks[k % len(looks)]
        if look is not None and x1 > x0 and y1 > y0:
            picture[y0:y1, x0:x1] = _stretched(look, x1 - x0, y1 - y0)
    return picture


def _look(suite: Suite, sample: Sample, instance: Instance) -> Pixels | None:
    """What an instance should look like: its portrait cut to the subject, else its box in the true image."""
    known = suite.references(sample.id)
    if instance.reference is not None and instance.reference in known:
        reference = known[instance.reference]
        if reference.mask is None or not reference.mask.any():
            return reference.image
        ys, xs = np.nonzero(reference.mask)
        return reference.image[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    true = suite.true_image(sample.id)
    if true is None:
        return None
    x0, y0, x1, y1 = instance.box.cells(true.shape[1], true.shape[0])
    part = true[y0:y1, x0:x1]
    return part if part.size else None


def _tile(column: int, row: int, width: int, height: int) -> tuple[int, int, int, int]:
    xs, ys = ([side * k // TILES for k in range(TILES + 1)] for side in (width, height))
    return xs[column], ys[row], xs[column + 1], ys[row + 1]


def _stretched(pixels: Pixels, width: int, height: int) -> Pixels:
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.BICUBIC))
