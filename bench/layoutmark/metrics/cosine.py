"""Cosine of two stored vectors, or the reason why one of them is missing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layoutmark.evidence import Vector
from layoutmark.score import Outcome, Score, Unscored


def cosine(vectors: Mapping[str, Vector], absent: Mapping[str, str], first: str, second: str) -> Outcome:
    """Raw cosine, in [-1, 1], of two stored vectors; no scaling, no clipping at 0.

    A missing vector gives `Unscored` with its reason from `absent` (that of `first` if both are missing). So does a
    vector of length 0, which has no direction.

    Args:
        vectors: Vectors by key.
        absent: Reasons by key of missing vectors.
        first: Key of the first vector.
        second: Key of the second vector.

    >>> vectors = {"clip/image": np.array([1.0, 0.0]), "clip/prompt": np.array([0.6, 0.8])}
    >>> cosine(vectors, {}, "clip/image", "clip/prompt")
    Score(value=0.6)
    """
    for key in (first, second):
        if key not in vectors:
            return Unscored(absent.get(key, f"no {key} stored"))
    a, b = vectors[first].astype(np.float64), vectors[second].astype(np.float64)
    length = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if not np.isfinite(length) or length == 0.0:
        return Unscored("a feature vector is zero or not finite")
    return Score(float(np.clip(float(a @ b) / length, -1.0, 1.0)))
