"""Points and scribbles inside a mask, in exact integers: the same pixels on every platform."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from layoutmark.layout import Point

VERTICES = 5


def used(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns of a mask (h, w) that hold any of it, ascending."""
    return np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))


def depth(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Squared Euclidean distance, in pixels, from every pixel of a mask (h, w) to the nearest pixel outside it.

    Pixels beyond the canvas count as outside; pixels outside the mask are 0.  Separable and exact (Meijster,
    Roerdink and Hesselink 2000, here with the second pass as a plain minimum).
    """
    ys, xs = used(mask)
    result = np.zeros(mask.shape, dtype=np.int64)
    if len(ys) == 0:
        return result
    rows, columns = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
    padded = np.pad(mask[rows, columns], 1)
    run = np.zeros(padded.shape, dtype=np.int64)
    for y in range(1, padded.shape[0]):
        run[y] = np.where(padded[y], run[y - 1] + 1, 0)
    for y in range(padded.shape[0] - 2, -1, -1):
        run[y] = np.minimum(run[y], run[y + 1] + 1)
    steps = np.arange(padded.shape[1])
    across = (steps[:, None] - steps[None, :]) ** 2
    squared = (across[None, :, :] + (run**2)[:, None, :]).min(2)
    result[rows, columns] = squared[1:-1, 1:-1]
    return result


def deepest(mask: npt.NDArray[np.bool_]) -> Point:
    """Centre of the pixel farthest from the outside, in fractions; the first in reading order when several are."""
    y, x = divmod(int(depth(mask).argmax()), mask.shape[1])
    return _centre(x, y, mask)


def scribble(mask: npt.NDArray[np.bool_], vertices: int = VERTICES) -> tuple[Point, ...]:
    """A stroke along the longer side of the mask: at evenly spread columns (or rows), the deepest pixel of each.

    Every vertex is the centre of a pixel of the mask, in fractions.  The straight lines between them may cross a gap
    of the mask, as strokes drawn by hand do.
    """
    deep = depth(mask)
    rows, columns = used(mask)
    tall = len(rows) > len(columns)
    lanes, deep = (rows, deep.T) if tall else (columns, deep)
    at = [int(lanes[(2 * i + 1) * len(lanes) // (2 * vertices)]) for i in range(vertices)]
    pixels = [(along, int(deep[:, along].argmax())) for along in dict.fromkeys(at)]
    return tuple(_centre(*(pixel[::-1] if tall else pixel), mask) for pixel in pixels)


def _centre(x: int, y: int, mask: npt.NDArray[np.bool_]) -> Point:
    height, width = mask.shape
    return ((2 * x + 1) / (2 * width), (2 * y + 1) / (2 * height))
