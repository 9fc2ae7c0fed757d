"""What needs no model: contrast and saturation of a picture, and how much of it has which basic colour."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from layoutmark.api import Pixels
from layoutmark.metrics.colour import COLOURS

NAME = "Rec.601 luma and HSV of 8-bit RGB, basic colours 1"
"""Full name for the variants of metrics; the number rises when a border below moves."""

HUES = (
    (15.0, "red"), (40.0, "orange"), (70.0, "yellow"), (165.0, "green"), (195.0, "cyan"), (260.0, "blue"),
    (300.0, "purple"), (345.0, "pink"), (360.0, "red"),
)  # fmt: skip
"""Upper ends of hue in degrees, not included."""
BLACK, WHITE, COLOURLESS, COLOURED, BROWN = 0.2, 0.8, 0.15, 0.35, 0.6
"""Black is V below the first; white and grey have S below the third, white V from the second up; a colour has S from
the fourth up, and orange with V below the fifth is brown.  Pale pixels between grey and a colour have no name: at such
saturation sky, grass and sand would count as things."""
Floats = npt.NDArray[np.float64]


def contrast(pixels: Pixels) -> float:
    """Standard deviation (RMS contrast) of luma 0.299 R + 0.587 G + 0.114 B in [0, 1] (ITU-R BT.601); at most 0.5."""
    return float((pixels @ np.array([0.299, 0.587, 0.114]) / 255.0).std())


def saturation(pixels: Pixels) -> float:
    """Mean S of HSV over the pixels, in [0, 1]; black has S = 0."""
    return float(_saturation(pixels).mean())


def colour_shares(pixels: Pixels) -> dict[str, float]:
    """Share of the pixels of each basic colour that occurs, in the order of `COLOURS`; together at most 1."""
    s, v, hue = _saturation(pixels), pixels.max(axis=-1) / 255.0, _hue(pixels)
    names = np.searchsorted([end for end, _ in HUES], hue, side="right")
    number = np.array([COLOURS.index(name) for _, name in HUES])[names]
    number = np.where((number == COLOURS.index("orange")) & (v < BROWN), COLOURS.index("brown"), number)
    number = np.where(s < COLOURED, -1, number)
    number = np.where(s < COLOURLESS, np.where(v >= WHITE, COLOURS.index("white"), COLOURS.index("grey")), number)
    number = np.where(v < BLACK, COLOURS.index("black"), number)
    return {name: share for k, name in enumerate(COLOURS) if (share := float((number == k).mean())) > 0}


def _saturation(pixels: Pixels) -> Floats:
    most, least = pixels.max(axis=-1).astype(np.float64), pixels.min(axis=-1).astype(np.float64)
    share: Floats = np.divide(most - least, most, out=np.zeros_like(most), where=most > 0)
    return share


def _hue(pixels: Pixels) -> Floats:
    """Hue in [0, 360), 0 where there is none (Smith, Color gamut transform pairs, SIGGRAPH 1978)."""
    r, g, b = np.moveaxis(pixels.astype(np.float64), -1, 0)
    most = pixels.max(axis=-1)
    spread = (most - pixels.min(axis=-1)).astype(np.float64)
    spread[spread == 0] = np.inf
    sector = np.where(most == r, (g - b) / spread, np.where(most == g, 2 + (b - r) / spread, 4 + (r - g) / spread))
    return np.asarray(sector * 60.0 % 360.0, dtype=np.float64)
