"""Suites whose layouts are not square, made square for generators and scorers as the suite's card declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from layoutmark.api import Pixels, Suite
from layoutmark.errors import LayoutmarkError
from layoutmark.ingest.masks import regridded
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Point, Reference, Sample
from layoutmark.provenance import digest
from layoutmark.registry.card_types import Aspect

GREY = 128
"""Of the bars beside a true picture: the middle between black and white."""
TOLD = {
    Aspect.PAD: "placed in the middle of a square (aspect: pad)",
    Aspect.STRETCHED: "stretched to a square (aspect: stretched)",
}


def squared(suite: Suite, aspect: Aspect) -> Suite:
    """The suite with every layout square, the longer side kept; the suite itself if all are.

    What was done stands in `notes`, and the digest follows from it.
    Raises LayoutmarkError for layouts that are not square under the policy `native`.
    """
    odd = [s.id for s in suite.samples if not is_square(s.layout.canvas)]
    if not odd:
        return suite
    if aspect is Aspect.NATIVE:
        raise LayoutmarkError(
            f"suite {suite.name}",
            found=f"{len(odd):,} layouts that are not square, as {odd[0]!r}, under aspect = 'native'",
            expected="square ones: a stack draws squares",
            do="Declare aspect = 'pad' or 'stretched' in its card, and build it again.",
        )
    return SquaredSuite(suite, aspect, len(odd))


class SquaredSuite:
    """A suite seen through one policy; pictures are made square as its layouts are."""

    def __init__(self, suite: Suite, aspect: Aspect, odd: int) -> None:
        self._suite, self._aspect = suite, aspect
        self.name = suite.name
        self.version = suite.version
        self.categories: Sequence[str] = suite.categories
        self.samples: Sequence[Sample] = tuple(_squared(s, aspect) for s in suite.samples)
        self.digest = digest({"of": suite.digest, "aspect": str(aspect)})
        told = f"{odd:,} of {len(self.samples):,} layouts are not square: {TOLD[aspect]}"
        self.notes: Sequence[str] = (*suite.notes, told)
        self.tokens: Mapping[str, int] = getattr(suite, "tokens", {})
        self.canvases: Mapping[str, Canvas] = {s.id: s.layout.canvas for s in suite.samples}
        """Canvases as the suite has them."""

    def true_image(self, sample_id: str) -> Pixels | None:
        """The true picture of a sample, made square as its layout is."""
        picture = self._suite.true_image(sample_id)
        return None if picture is None else squared_picture(picture, self._aspect)

    def references(self, sample_id: str) -> Mapping[str, Reference]:
        """The suite's own references: they keep their shape."""
        return self._suite.references(sample_id)

    def further_references(self, sample_id: str) -> Mapping[str, Sequence[Pixels]]:
        """The suite's further pictures of the sample's references, if it has some."""
        offer = getattr(self._suite, "further_references", None)
        found: Mapping[str, Sequence[Pixels]] = {} if offer is None else offer(sample_id)
        return found

    def fitted(self, sample_id: str, picture: Pixels) -> Pixels | None:
        """A picture made elsewhere, as this suite's layouts are.

        One that is square stays, one of the sample's own shape is made square, and for any other there is None.
        """
        height, width = picture.shape[:2]
        own = self.canvases[sample_id]
        if width == height:
            return picture
        return squared_picture(picture, self._aspect) if _alike(width, height, own) else None


def is_square(canvas: Canvas) -> bool:
    """Whether both sides are the same."""
    return canvas.width == canvas.height


def squared_picture(picture: Pixels, aspect: Aspect) -> Pixels:
    """A picture (height, width, 3) on a square with its longer side: between grey bars, or stretched (bicubic)."""
    height, width = picture.shape[:2]
    side = max(height, width)
    if aspect is Aspect.STRETCHED:
        return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))
    square = np.full((side, side, 3), GREY, dtype=np.uint8)
    left, top = _margins(width, height)
    square[top : top + height, left : left + width] = picture
    return square


def _squared(sample: Sample, aspect: Aspect) -> Sample:
    canvas = sample.layout.canvas
    if is_square(canvas):
        return sample
    side = max(canvas.width, canvas.height)
    square = Canvas(side, side)
    instances = tuple(_placed(i, canvas, square, aspect) for i in sample.layout.instances)
    return replace(sample, layout=Layout(square, instances))


def _placed(instance: Instance, canvas: Canvas, square: Canvas, aspect: Aspect) -> Instance:
    mask = instance.mask
    if aspect is Aspect.STRETCHED:
        return replace(instance, mask=None if mask is None else regridded(mask, square))
    left, top = _margins(canvas.width, canvas.height)
    side = square.width

    def at(x: float, y: float) -> Point:
        return ((x * canvas.width + left) / side, (y * canvas.height + top) / side)

    x0, y0, x1, y1 = instance.box.xyxy
    if mask is not None:
        padded = np.zeros((side, side), dtype=bool)
        padded[top : top + canvas.height, left : left + canvas.width] = regridded(mask, canvas).array()
        mask = Mask.from_array(padded)
    return replace(
        instance,
        box=Box(*at(x0, y0), *at(x1, y1)),
        mask=mask,
        point=None if instance.point is None else at(*instance.point),
        scribble=None if instance.scribble is None else tuple(at(x, y) for x, y in instance.scribble),
    )


def _margins(width: int, height: int) -> tuple[int, int]:
    """Whole pixels left of and above a picture in the middle of its square."""
    side = max(width, height)
    return (side - width) // 2, (side - height) // 2


def _alike(width: int, height: int, canvas: Canvas) -> bool:
    """Whether a picture has a canvas's proportions, as far as whole pixels allow."""
    return abs(width * canvas.height - height * canvas.width) <= max(canvas.width, canvas.height, width, height)
