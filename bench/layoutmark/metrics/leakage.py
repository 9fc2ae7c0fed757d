"""Leakage of identities over a whole run: mean similarity of crops with their own and with others' references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from layoutmark.evidence import Evidence
from layoutmark.metrics.identity import crop_reference_cosines, distinct_identities

MAX_CATEGORIES = 24
"""Number of categories with a row of their own; rarer ones are left out and counted."""


def leakage_matrix(evidence: Sequence[Evidence], encoder: str) -> dict[str, Any] | None:
    """Mean cosines by category of the target (rows) and of the reference (columns).

    Args:
        evidence: The images.
        encoder: Role of the encoder.

    Returns `categories` (k), most frequent first; `own` (k), the similarity of target crops with their own reference;
    `others` (k, k), with the references of other identities in the same image; and `left_out`, the number of targets of
    rarer categories. A cell is ``[mean, n]``, with None as the mean if n is 0. None if no image has a crop and a
    reference to compare.

    >>> from layoutmark.metrics.examples import example_image
    >>> vectors = {"clip/target-crop": [1.0, 0.0], "clip/reference": [1.0, 0.0]}
    >>> leakage_matrix([example_image(crops=[{"vectors": vectors}])], "clip")
    {'categories': ['cat'], 'own': [[1.0, 1]], 'others': [[[None, 0]]], 'left_out': 0}
    """
    cosines_by_pair: dict[tuple[str, str | None], list[float]] = {}
    target_counts: Counter[str] = Counter()
    for e in evidence:
        instances = e.sample.layout.instances
        cosines, are_distinct = crop_reference_cosines(e, encoder), distinct_identities(instances)
        for i, j in np.argwhere(np.isfinite(cosines)):
            is_own = i == j
            if is_own or are_distinct[i, j]:
                key = (instances[i].category, None if is_own else instances[j].category)
                cosines_by_pair.setdefault(key, []).append(float(cosines[i, j]))
                target_counts[instances[i].category] += is_own
    if not cosines_by_pair:
        return None
    ranked = sorted(target_counts, key=lambda c: (-target_counts[c], c))
    categories = ranked[:MAX_CATEGORIES]

    def cell(row: str, column: str | None) -> list[Any]:
        values = cosines_by_pair.get((row, column), [])
        return [float(np.mean(values)) if values else None, len(values)]

    return {
        "categories": categories,
        "own": [cell(c, None) for c in categories],
        "others": [[cell(c, d) for d in categories] for c in categories],
        "left_out": sum(target_counts[c] for c in ranked[MAX_CATEGORIES:]),
    }
