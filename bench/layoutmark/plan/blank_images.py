"""When a picture shows nothing."""

from __future__ import annotations

import numpy as np

from layoutmark.api import Pixels

CONSTANT = 1.5
"""An image whose grey values deviate less than this (of 255) is called degenerate."""


def constant(pixels: Pixels) -> bool:
    """Whether a picture shows nothing: almost one colour all over."""
    return float(pixels.astype(np.float64).std(axis=(0, 1)).max()) < CONSTANT
