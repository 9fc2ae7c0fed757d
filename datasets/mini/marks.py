"""Points and scribbles inside a mask, computed in integers so that they are identical on every platform."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from layoutmark.layout import Point

SCRIBBLE_VERTICES = 5


def occupied_lines(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of the rows and of the columns of a mask, shape (h, w), that are not empty; ascending."""
    return np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))


def squared_depth(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Squared Euclidean distance, in pixels, from each pixel of a mask, shape (h, w), to the nearest pixel outside it.

    Pixels beyond the canvas count as outside; the result is 0 outside the mask.  The method is separable and exact
    (Meijster, Roerdink and Hesselink 2000, with a plain minimum as the second pass).
    """
    ys, xs = occupied_lines(mask)
    result = np.zeros(mask.shape, dtype=np.int64)
    if len(ys) == 0:
        return result
    rows, columns = slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1)
    padded = np.pad(mask[rows, columns], 1)
    vertical = np.zeros(padded.shape, dtype=np.int64)
    for y in range(1, padded.shape[0]):
        vertical[y] = np.where(padded[y], vertical[y - 1] + 1, 0)
    for y in range(padded.shape[0] - 2, -1, -1):
        vertical[y] = np.minimum(vertical[y], vertical[y + 1] + 1)
    xs_padded = np.arange(padded.shape[1])
    horizontal_squared = (xs_padded[:, None] - xs_padded[None, :]) ** 2
    squared = (horizontal_squared[None, :, :] + (vertical**2)[:, None, :]).min(2)
    result[rows, columns] = squared[1:-1, 1:-1]
    return result


def deepest_point(mask: npt.NDArray[np.bool_]) -> Point:
    """Centre (x, y) of the pixel farthest from the outside, in fractions; ties go to the first in reading order."""
    y, x = divmod(int(squared_depth(mask).argmax()), mask.shape[1])
    return _pixel_centre(x, y, mask)


def make_scribble(mask: npt.NDArray[np.bool_], vertices: int = SCRIBBLE_VERTICES) -> tuple[Point, ...]:
    """A scribble along the longer side of a mask, as (x, y) in fractions.

    Each vertex is the centre of the deepest pixel in one of several evenly spaced columns (or rows).  The lines between
    vertices may cross gaps of the mask, as strokes drawn by hand do.
    """
    depth = squared_depth(mask)
    rows, columns = occupied_lines(mask)
    is_tall = len(rows) > len(columns)
    lines, depth = (rows, depth.T) if is_tall else (columns, depth)
    chosen = [int(lines[(2 * i + 1) * len(lines) // (2 * vertices)]) for i in range(vertices)]
    pixels = [(line, int(depth[:, line].argmax())) for line in dict.fromkeys(chosen)]
    return tuple(_pixel_centre(*(pixel[::-1] if is_tall else pixel), mask) for pixel in pixels)


def _pixel_centre(x: int, y: int, mask: npt.NDArray[np.bool_]) -> Point:
    height, width = mask.shape
    return ((2 * x + 1) / (2 * width), (2 * y + 1) / (2 * height))
