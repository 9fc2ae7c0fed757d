"""Convert masks, scribbles and names to the inputs that the published weights were trained on.

Points are (x, y) pairs in mask pixels unless stated otherwise; masks are bool (H, W).  Random numbers come from
generators that are passed in.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Instance, Layout

from .position_net import MASK_SIZE, SLOTS, Grounding

SCRIBBLE_POINTS = 20
POINTS_PER_PART = 128
"""Number of points inside a mask, and the same number on its outline."""

Points = npt.NDArray[np.float64]
"""(n, 2), x before y."""
Pixels = npt.NDArray[np.bool_]
Corner = tuple[int, int]
"""(row, column) of a background pixel on an outline."""

# The sides by which an outline enters and leaves a 2 x 2 window, with the background on its right, for every pattern of
# set pixels (upper left 1, upper right 2, lower left 4, lower right 8).  Pixels that only share a corner are not
# connected, although their outlines may share background pixels.
CROSSINGS = {
    1: ("top", "left"), 2: ("right", "top"), 3: ("right", "left"), 4: ("left", "bottom"), 5: ("top", "bottom"),
    6: ("right", "top", "left", "bottom"), 7: ("right", "bottom"), 8: ("bottom", "right"),
    9: ("top", "left", "bottom", "right"), 10: ("bottom", "top"), 11: ("bottom", "left"), 12: ("left", "right"),
    13: ("top", "right"), 14: ("left", "top"),
}  # fmt: skip
SIDES = {"top": ((0, 0), (0, 1)), "bottom": ((1, 0), (1, 1)), "left": ((0, 0), (1, 0)), "right": ((0, 1), (1, 1))}
"""The two pixels of a window that each side connects."""


def mask_points(mask: Pixels, rng: random.Random) -> Points:
    """Sample 256 points of a mask, shape (256, 2): 128 inside, 128 on outlines, sorted by distance to the origin.

    If the mask has fewer than 128 pixels, inner points are drawn with replacement.  Outlines lie on background pixels,
    shifted by one to the right and down, as in the public code.  Returns zeros for an empty mask.
    """
    foreground = _foreground(mask)
    if not len(foreground):
        return np.zeros((2 * POINTS_PER_PART, 2))
    outline = np.concatenate(_closed_outlines(mask))
    on_outline = outline[np.linspace(0, len(outline) - 1, POINTS_PER_PART).astype(int)]
    return _by_distance(np.concatenate([_inner_points(foreground, rng), on_outline]))


def _inner_points(foreground: Points, rng: random.Random) -> Points:
    """The middle pixel of each of 128 rings around the centroid, shape (128, 2)."""
    if len(foreground) < POINTS_PER_PART:
        return np.array([rng.choice(foreground) for _ in range(POINTS_PER_PART)])
    rings = _by_distance(foreground, foreground.mean(0))
    length = len(foreground) // POINTS_PER_PART
    return rings[np.arange(POINTS_PER_PART) * length + length // 2]


def _closed_outlines(mask: Pixels) -> list[Points]:
    """Closed outlines with at least three points, traced on the mask padded by one pixel."""
    closed = []
    for outline in trace_outlines(np.pad(mask, 1)):
        points = np.array(outline if outline[0] == outline[-1] else [*outline, outline[0]], dtype=np.float64)
        if len(points) >= 3:
            closed.append(points[:, ::-1].clip(min=0))
    return closed


def trace_outlines(mask: Pixels) -> list[list[Corner]]:
    """Trace the outlines of a bool mask (H, W) as background pixels (row, column), in order of their first segment.

    This is marching squares at the background level: every crossing falls on a background pixel, and the background
    lies to the right of the path.  Segments are joined in reading order, like scikit-image's `find_contours`, because
    the order decides which points are kept later.
    """
    lines: dict[int, list[Corner]] = {}
    begins: dict[Corner, int] = {}
    ends: dict[Corner, int] = {}
    begun = 0
    for start, stop in _segments(mask):
        after, before = begins.pop(stop, None), ends.pop(start, None)
        if after is None and before is None:
            lines[begun] = [start, stop]
            begins[start] = ends[stop] = begun
            begun += 1
        elif before is None and after is not None:
            lines[after].insert(0, start)
            begins[start] = after
        elif after is None and before is not None:
            lines[before].append(stop)
            ends[stop] = before
        elif before == after and before is not None:
            lines[before].append(stop)
        elif before is not None and after is not None:
            kept, dropped = min(before, after), max(before, after)
            joined = lines[before] + lines[after]
            del lines[dropped]
            lines[kept] = joined
            begins[joined[0]] = ends[joined[-1]] = kept
    return [lines[name] for name in sorted(lines)]


def _segments(mask: Pixels) -> Iterator[tuple[Corner, Corner]]:
    """Outline segments within each 2 x 2 window, in reading order, without those of zero length."""
    values = mask.astype(np.int64)
    patterns = values[:-1, :-1] + 2 * values[:-1, 1:] + 4 * values[1:, :-1] + 8 * values[1:, 1:]
    for row, column in np.argwhere((patterns > 0) & (patterns < 15)).tolist():

        def corner(side: str, row: int = row, column: int = column) -> Corner:
            pixels = [(row + down, column + right) for down, right in SIDES[side]]
            return next(pixel for pixel in pixels if not mask[pixel])

        sides = CROSSINGS[int(patterns[row, column])]
        for enter, leave in zip(sides[::2], sides[1::2], strict=True):
            start, stop = corner(enter), corner(leave)
            if start != stop:
                yield start, stop


def as_fractions(pixels: Points, size: tuple[int, int]) -> Points:
    """Convert pixels (n, 2) of a mask of size (height, width) to fractions, at most 1."""
    height, width = size
    return np.minimum(pixels / np.array([width, height]), 1)


def mask_scribble(mask: Pixels, rng: np.random.RandomState) -> Points:
    """Sample 20 pixels (20, 2) of a mask, sorted by distance to the origin; without replacement if the mask has enough.

    Returns zeros for an empty mask.
    """
    foreground = _foreground(mask)
    if not len(foreground):
        return np.zeros((SCRIBBLE_POINTS, 2))
    chosen = rng.choice(len(foreground), SCRIBBLE_POINTS, replace=len(foreground) < SCRIBBLE_POINTS)
    return _by_distance(foreground[chosen])


def ordered_scribble(points: Points) -> Points:
    """Resample points (n, 2) to 20, sorted by distance to the origin.

    Of more than 20, every floor(n / 20)-th is kept; fewer are repeated.  Raises LayoutmarkError if there are none.
    """
    count = len(points)
    if not count:
        raise LayoutmarkError(
            "scribble", found="no points", expected="at least one", do="Omit the scribble or give it points."
        )
    ordered = _by_distance(np.asarray(points, dtype=np.float64))
    if count >= SCRIBBLE_POINTS:
        kept = ordered[:: count // SCRIBBLE_POINTS][:SCRIBBLE_POINTS]
    else:
        kept = ordered[[index * count // SCRIBBLE_POINTS for index in range(SCRIBBLE_POINTS)]]
    return _by_distance(kept)


def sentence(names: Sequence[str]) -> str:
    """Names of all instances, including repeated ones, as the public evaluation appends them to a caption."""
    return ", ".join(names)


def grounding(layout: Layout, text: torch.Tensor, seed: int, mask_size: int = MASK_SIZE) -> Grounding:
    """Grounding (B = 1) of a layout's first 30 instances; `text` (n, D) has one row per instance.

    A missing point defaults to the centre of the box; a missing scribble is sampled from the mask.  Random numbers
    depend only on `seed`.  Raises LayoutmarkError if the number of rows is wrong.
    """
    instances = layout.instances[:SLOTS]
    if text.ndim != 2 or len(text) != len(instances):
        raise LayoutmarkError(
            "text of instancediffusion", found=f"shape {tuple(text.shape)}", expected=f"{len(instances)} rows",
            do="Encode the phrase of each of the first 30 instances separately.",
        )  # fmt: skip
    rng, scribble_rng = random.Random(seed), np.random.RandomState(seed)
    grounded = Grounding.empty(1, text.shape[-1])
    masks = torch.zeros(1, SLOTS, mask_size, mask_size)
    for slot, instance in enumerate(instances):
        grounded.valid[0, slot] = 1
        grounded.text[0, slot] = text[slot]
        grounded.boxes[0, slot] = torch.tensor(instance.box.xyxy)
        grounded.points[0, slot] = torch.tensor(instance.point or _centre(instance))
        mask = instance.mask.to_array() if instance.mask else None
        if mask is not None:
            masks[0, slot] = _resized(mask, mask_size)
            grounded.polygons[0, slot] = _flat(as_fractions(mask_points(mask, rng), mask.shape))
        if instance.scribble:
            grounded.scribbles[0, slot] = _flat(ordered_scribble(np.array(instance.scribble)))
        elif mask is not None:
            grounded.scribbles[0, slot] = _flat(as_fractions(mask_scribble(mask, scribble_rng), mask.shape))
    return Grounding(
        grounded.valid, grounded.text, grounded.boxes, grounded.points, grounded.scribbles, grounded.polygons, masks
    )


def _centre(instance: Instance) -> tuple[float, float]:
    x0, y0, x1, y1 = instance.box.xyxy
    return (x0 + x1) / 2, (y0 + y1) / 2


def _resized(mask: Pixels, side: int) -> torch.Tensor:
    """Resize to `side` x `side` by nearest neighbour."""
    height, width = mask.shape
    rows, columns = np.arange(side) * height // side, np.arange(side) * width // side
    return torch.from_numpy(mask[rows][:, columns]).float()


def _foreground(mask: Pixels) -> Points:
    """Set pixels (n, 2) in reading order."""
    return np.argwhere(mask)[:, ::-1].astype(np.float64)


def _by_distance(points: Points, origin: Points | float = 0.0) -> Points:
    """Points sorted by distance to `origin`; the sort is stable."""
    return points[np.argsort(np.linalg.norm(points - origin, axis=1), kind="stable")]


def _flat(points: Points) -> torch.Tensor:
    return torch.from_numpy(points.reshape(-1)).float()
