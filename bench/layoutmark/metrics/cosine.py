"""Cosine of two stored vectors, or the reason why one of them is not there."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layoutmark.evidence import Vector
from layoutmark.score import Outcome, Score, Unscored


def cosine(vectors: Mapping[str, Vector], absent: Mapping[str, str], first: str, second: str) -> Outcome:
    """Raw cosine in [-1, 1] of two named vectors; no factor, no cut at 0.

    A vector that is not there gives Unscored with its reason from `absent`, the first named one first.  A vector of
    length 0 has no direction and is Unscored too.
    """
    for key in (first, second):
        if key not in vectors:
            return Unscored(absent.get(key, f"no {key} stored"))
    a, b = vectors[first].astype(np.float64), vectors[second].astype(np.float64)
    length = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if not np.isfinite(length) or length == 0.0:
        return Unscored("a feature vector is zero or not finite")
    return Score(float(np.clip(float(a @ b) / length, -1.0, 1.0)))
