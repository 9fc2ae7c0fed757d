"""Suites with layouts that are not square, made square for generators and scorers as the suite's card declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from layoutmark.api import Pixels, Suite
from layoutmark.errors import LayoutmarkError
from layoutmark.ingest.masks import resample_mask
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Point, Reference, Sample
from layoutmark.provenance import digest
from layoutmark.registry.card_types import Aspect

BAR_GREY_LEVEL = 128
"""Grey level of the bars beside a true image: halfway between black and white."""
ASPECT_NOTES = {
    Aspect.PAD: "placed in the middle of a square (aspect: pad)",
    Aspect.STRETCHED: "stretched to a square (aspect: stretched)",
}


def make_square(suite: Suite, aspect: Aspect) -> Suite:
    """The suite with every layout made square, keeping the longer side; the suite itself if all are square.

    The change is stated in `notes` and covered by the digest.
    Raises LayoutmarkError if there are layouts that are not square and `aspect` is `native`.
    """
    oblong_ids = [s.id for s in suite.samples if not is_square(s.layout.canvas)]
    if not oblong_ids:
        return suite
    if aspect is Aspect.NATIVE:
        raise LayoutmarkError(
            f"suite {suite.name}",
            found=f"{len(oblong_ids):,} layouts that are not square, such as {oblong_ids[0]!r}, with aspect = 'native'",
            expected="square layouts, because stacks generate square images",
            do="Set aspect to 'pad' or 'stretched' in the suite's card, and build it again.",
        )
    return SquaredSuite(suite, aspect, len(oblong_ids))


class SquaredSuite:
    """A suite with square layouts; its true images are made square in the same way."""

    def __init__(self, suite: Suite, aspect: Aspect, oblong_count: int) -> None:
        self._suite, self._aspect = suite, aspect
        self.name = suite.name
        self.version = suite.version
        self.categories: Sequence[str] = suite.categories
        self.samples: Sequence[Sample] = tuple(_make_sample_square(s, aspect) for s in suite.samples)
        self.digest = digest({"of": suite.digest, "aspect": str(aspect)})
        note = f"{oblong_count:,} of {len(self.samples):,} layouts are not square: {ASPECT_NOTES[aspect]}"
        self.notes: Sequence[str] = (*suite.notes, note)
        self.tokens: Mapping[str, int] = getattr(suite, "tokens", {})
        self.canvases: Mapping[str, Canvas] = {s.id: s.layout.canvas for s in suite.samples}
        """The original canvases by sample id."""

    def true_image(self, sample_id: str) -> Pixels | None:
        """The true image of a sample, made square like its layout."""
        image = self._suite.true_image(sample_id)
        return None if image is None else make_image_square(image, self._aspect)

    def references(self, sample_id: str) -> Mapping[str, Reference]:
        """The suite's references, unchanged."""
        return self._suite.references(sample_id)

    def extra_references(self, sample_id: str) -> Mapping[str, Sequence[Pixels]]:
        """The suite's extra reference images of the sample, unchanged; empty if the suite offers none."""
        get_extra_references = getattr(self._suite, "extra_references", None)
        return {} if get_extra_references is None else get_extra_references(sample_id)

    def fit_image(self, sample_id: str, image: Pixels) -> Pixels | None:
        """Make an external image square like the sample's layout.

        A square image is returned unchanged, one with the proportions of the original canvas is made square, and for
        any other the result is None.
        """
        height, width = image.shape[:2]
        if width == height:
            return image
        canvas = self.canvases[sample_id]
        return make_image_square(image, self._aspect) if _has_proportions_of(width, height, canvas) else None


def is_square(canvas: Canvas) -> bool:
    """Whether both sides are equal."""
    return canvas.width == canvas.height


def make_image_square(image: Pixels, aspect: Aspect) -> Pixels:
    """Make an image, shape (height, width, 3), square with the length of its longer side.

    It is stretched (bicubic) if `aspect` is `stretched`, else centred between grey bars.

    >>> make_image_square(np.zeros((2, 4, 3), dtype=np.uint8), Aspect.PAD)[:, 0, 0].tolist()
    [128, 0, 0, 128]
    """
    height, width = image.shape[:2]
    side = max(height, width)
    if aspect is Aspect.STRETCHED:
        return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
    square = np.full((side, side, 3), BAR_GREY_LEVEL, dtype=np.uint8)
    left, top = _margins(width, height)
    square[top : top + height, left : left + width] = image
    return square


def _make_sample_square(sample: Sample, aspect: Aspect) -> Sample:
    canvas = sample.layout.canvas
    if is_square(canvas):
        return sample
    side = max(canvas.width, canvas.height)
    square = Canvas(side, side)
    instances = tuple(_map_instance(i, canvas, square, aspect) for i in sample.layout.instances)
    return replace(sample, layout=Layout(square, instances))


def _map_instance(instance: Instance, canvas: Canvas, square: Canvas, aspect: Aspect) -> Instance:
    mask = instance.mask
    if aspect is Aspect.STRETCHED:
        return replace(instance, mask=None if mask is None else resample_mask(mask, square))
    left, top = _margins(canvas.width, canvas.height)
    side = square.width

    def map_point(x: float, y: float) -> Point:
        return ((x * canvas.width + left) / side, (y * canvas.height + top) / side)

    x0, y0, x1, y1 = instance.box.xyxy
    if mask is not None:
        padded = np.zeros((side, side), dtype=bool)
        padded[top : top + canvas.height, left : left + canvas.width] = resample_mask(mask, canvas).to_array()
        mask = Mask.from_array(padded)
    return replace(
        instance,
        box=Box(*map_point(x0, y0), *map_point(x1, y1)),
        mask=mask,
        point=None if instance.point is None else map_point(*instance.point),
        scribble=None if instance.scribble is None else tuple(map_point(x, y) for x, y in instance.scribble),
    )


def _margins(width: int, height: int) -> tuple[int, int]:
    """Width of the bars to the left of and above an image centred in its square, in whole pixels."""
    side = max(width, height)
    return (side - width) // 2, (side - height) // 2


def _has_proportions_of(width: int, height: int, canvas: Canvas) -> bool:
    """Whether an image has the canvas's proportions, within the rounding to whole pixels."""
    return abs(width * canvas.height - height * canvas.width) <= max(canvas.width, canvas.height, width, height)
