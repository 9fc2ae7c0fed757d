"""Image measures that need no model: contrast, saturation, and the share of each basic colour."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.metrics.colour import BASIC_COLOURS

NAME = "Rec.601 luma and HSV of 8-bit RGB, basic colours 1"
"""Full name used in metric variants; raise the number when a boundary below moves."""

HUE_UPPER_BOUNDS = (
    (15.0, "red"), (40.0, "orange"), (70.0, "yellow"), (165.0, "green"), (195.0, "cyan"), (260.0, "blue"),
    (300.0, "purple"), (345.0, "pink"), (360.0, "red"),
)  # fmt: skip
"""Exclusive upper bounds of hue, in degrees."""
BLACK_BELOW_VALUE = 0.2
WHITE_FROM_VALUE = 0.8
BROWN_BELOW_VALUE = 0.6
"""Orange darker than this is brown."""
GREY_BELOW_SATURATION = 0.15
"""Pixels less saturated than this are white or grey."""
COLOUR_FROM_SATURATION = 0.35
"""Pixels at least this saturated have a colour.  Paler ones, down to grey, have no name: at such saturation sky, grass
and sand would count as objects."""
Floats = npt.NDArray[np.float64]


def contrast(pixels: Pixels) -> float:
    """Return the RMS contrast of RGB pixels (h, w, 3), in [0, 0.5].

    It is the standard deviation of luma 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), scaled to [0, 1].

    >>> half_white = np.zeros((2, 2, 3), np.uint8)
    >>> half_white[0] = 255
    >>> round(contrast(half_white), 6)
    0.5
    """
    return float((pixels @ np.array([0.299, 0.587, 0.114]) / 255.0).std())


def saturation(pixels: Pixels) -> float:
    """Return the mean HSV saturation of RGB pixels (h, w, 3), in [0, 1]; black has saturation 0.

    >>> saturation(np.array([[[255, 0, 0], [255, 255, 255]]], np.uint8))
    0.5
    """
    return float(_saturation(pixels).mean())


def colour_shares(pixels: Pixels) -> dict[str, float]:
    """Return the share of RGB pixels (h, w, 3) of each basic colour present, in the order of `BASIC_COLOURS`.

    Pixels too pale to name are not counted, so the shares sum to at most 1.

    >>> colour_shares(np.array([[[255, 0, 0], [255, 255, 255]]], np.uint8))
    {'red': 0.5, 'white': 0.5}
    """
    s, v, hue = _saturation(pixels), pixels.max(axis=-1) / 255.0, _hue(pixels)
    hue_bins = np.searchsorted([end for end, _ in HUE_UPPER_BOUNDS], hue, side="right")
    index = np.array([BASIC_COLOURS.index(name) for _, name in HUE_UPPER_BOUNDS])[hue_bins]
    is_brown = (index == BASIC_COLOURS.index("orange")) & (v < BROWN_BELOW_VALUE)
    index = np.where(is_brown, BASIC_COLOURS.index("brown"), index)
    index = np.where(s < COLOUR_FROM_SATURATION, -1, index)
    unsaturated = np.where(v >= WHITE_FROM_VALUE, BASIC_COLOURS.index("white"), BASIC_COLOURS.index("grey"))
    index = np.where(s < GREY_BELOW_SATURATION, unsaturated, index)
    index = np.where(v < BLACK_BELOW_VALUE, BASIC_COLOURS.index("black"), index)
    return {name: share for k, name in enumerate(BASIC_COLOURS) if (share := float((index == k).mean())) > 0}


def _saturation(pixels: Pixels) -> Floats:
    largest, smallest = pixels.max(axis=-1).astype(np.float64), pixels.min(axis=-1).astype(np.float64)
    share: Floats = np.divide(largest - smallest, largest, out=np.zeros_like(largest), where=largest > 0)
    return share


def _hue(pixels: Pixels) -> Floats:
    """Return hue in [0, 360) degrees, 0 for grey pixels (Smith, Color gamut transform pairs, SIGGRAPH 1978)."""
    r, g, b = np.moveaxis(pixels.astype(np.float64), -1, 0)
    largest = pixels.max(axis=-1)
    spread = (largest - pixels.min(axis=-1)).astype(np.float64)
    spread[spread == 0] = np.inf
    sector = np.where(
        largest == r, (g - b) / spread, np.where(largest == g, 2 + (b - r) / spread, 4 + (r - g) / spread)
    )  # fmt: skip
    return np.asarray(sector * 60.0 % 360.0, dtype=np.float64)
