"""Reference rows: bounds of the table, and adversarial images, which must never win it.

Neither needs a generator, except `floor-shuffled`.  An adversarial image ignores the layout and is made to score well:
it is composed of the suite's reference images, or else of the contents of the target boxes in the true images.
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
FLOOR_PREFIX, ADVERSARY_PREFIX = "floor-", "adversary-"
CONSTANT, PASTED, GIANT, BAIT = (ADVERSARY_PREFIX + kind for kind in ("constant", "pasted", "giant", "bait"))
BOUND_TITLES = {
    CEILING: "True images: what the scorers say when nothing is wrong",
    SHUFFLED: "Images of base, judged by other samples' layouts and prompts",
    BLANK: "One grey image for every sample",
}
ADVERSARY_TITLES = {
    CONSTANT: "One true image of the suite for every sample",
    PASTED: "The reference of each target pasted over its box, on grey",
    GIANT: "The first target's reference over the whole image",
    BAIT: "The references of all targets in a grid over the whole image, boxes ignored",
}
REFERENCE_ROW_TITLES = {**BOUND_TITLES, **ADVERSARY_TITLES}
"""Those of the bounds are stored in committed leaderboard entries, so their wording stays."""
GREY_LEVEL = 128
BAIT_TILES_PER_SIDE = 4
"""Rows and columns of the grid of references in `adversary-bait`."""


def reference_row_names(suite: Suite, methods: Sequence[str], adversaries: bool) -> tuple[list[str], dict[str, str]]:
    """Return the reference rows for a suite and its methods, and the reason for each requested row left out."""
    first_sample = suite.samples[0]
    has_true_images = suite.true_image(first_sample.id) is not None
    names = [CEILING] if has_true_images else []
    names += [SHUFFLED] if BASE in methods and len(suite.samples) > 1 else []
    names.append(BLANK)
    if not adversaries:
        return names, {}
    if has_true_images or suite.references(first_sample.id):
        return [*names, *ADVERSARY_TITLES], {}
    return names, dict.fromkeys(ADVERSARY_TITLES, f"suite {suite.name!r} has neither true images nor references")


def shuffled_partners(samples: Sequence[Sample]) -> dict[str, str]:
    """Map each sample id to the id whose image it is scored with: one fixed cycle through all samples."""
    order = sorted((s.id for s in samples), key=lambda i: digest(["shuffle", i]))
    return dict(zip(order, order[1:] + order[:1], strict=True))


def draw_reference_row(name: str, suite: Suite, sample: Sample) -> Pixels | None:
    """Draw the image of a reference row for a sample, of the size of its canvas.

    Returns None if the suite lacks the image or references that the row needs.  `name` must not be `floor-shuffled`,
    whose images come from a generator.
    """
    height, width = sample.layout.canvas.height, sample.layout.canvas.width
    if name == CEILING:
        return suite.true_image(sample.id)
    if name == CONSTANT:
        return _draw_constant(suite, width, height)
    image: Pixels = np.full((height, width, 3), GREY_LEVEL, dtype=np.uint8)
    if name == BLANK:
        return image
    instances = sample.layout.instances
    appearances = [_appearance(suite, sample, i) for i in instances]
    if not instances or any(appearance is None for appearance in appearances):
        return None
    tile_count = BAIT_TILES_PER_SIDE * BAIT_TILES_PER_SIDE
    regions = {
        PASTED: [i.box.to_cells(width, height) for i in instances],
        GIANT: [(0, 0, width, height)],
        BAIT: [_tile(k % BAIT_TILES_PER_SIDE, k // BAIT_TILES_PER_SIDE, width, height) for k in range(tile_count)],
    }[name]
    for k, (x0, y0, x1, y1) in enumerate(regions):
        appearance = appearances[k % len(appearances)]
        if appearance is not None and x1 > x0 and y1 > y0:
            image[y0:y1, x0:x1] = _resize(appearance, x1 - x0, y1 - y0)
    return image


def _draw_constant(suite: Suite, width: int, height: int) -> Pixels | None:
    """Draw the first sample's true image, or else its first reference, for any sample."""
    first_sample = suite.samples[0]
    image = suite.true_image(first_sample.id)
    if image is None:
        image = next((r.image for r in suite.references(first_sample.id).values()), None)
    return None if image is None else _resize(image, width, height)


def _appearance(suite: Suite, sample: Sample, instance: Instance) -> Pixels | None:
    """Return what an instance should look like: its reference cut to the subject, else its box in the true image."""
    references = suite.references(sample.id)
    if instance.reference is not None and instance.reference in references:
        reference = references[instance.reference]
        if reference.mask is None or not reference.mask.any():
            return reference.image
        ys, xs = np.nonzero(reference.mask)
        return reference.image[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    true_image = suite.true_image(sample.id)
    if true_image is None:
        return None
    x0, y0, x1, y1 = instance.box.to_cells(true_image.shape[1], true_image.shape[0])
    crop = true_image[y0:y1, x0:x1]
    return crop if crop.size else None


def _tile(column: int, row: int, width: int, height: int) -> tuple[int, int, int, int]:
    xs, ys = ([side * k // BAIT_TILES_PER_SIDE for k in range(BAIT_TILES_PER_SIDE + 1)] for side in (width, height))
    return xs[column], ys[row], xs[column + 1], ys[row + 1]


def _resize(pixels: Pixels, width: int, height: int) -> Pixels:
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.BICUBIC))
