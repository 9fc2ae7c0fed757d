"""Detects images that show nothing."""

from __future__ import annotations

import numpy as np

from layoutmark.api import Pixels

MAX_BLANK_STD = 1.5
"""Images whose values (0..255) have a smaller standard deviation than this in every channel are degenerate."""


def is_blank(pixels: Pixels) -> bool:
    """Return whether an image has almost the same colour everywhere.

    >>> is_blank(np.full((8, 8, 3), 114, np.uint8))
    True
    """
    return float(pixels.astype(np.float64).std(axis=(0, 1)).max()) < MAX_BLANK_STD
