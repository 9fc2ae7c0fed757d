"""Whose look does each place have, over a whole run: mean similarity of crops with their own and others' references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from layoutmark.evidence import Evidence
from layoutmark.metrics.identity import others, similarities

MOST = 24
"""Categories that are told apart; the rarest beyond are left out, and counted."""


def leakage(evidence: Sequence[Evidence], kind: str) -> dict[str, Any] | None:
    """Mean cosines of the encoder `kind`, by category of the place (rows) and of the reference (columns).

    `own` (k) compares each target crop with its own reference, `others` (k, k) with those of the other things of the
    same image; each cell is ``[mean, n]`` with None where n is 0.  `categories` (k) are the most frequent first,
    `left_out` counts places of others.  None when no image has a crop and a reference to compare.
    """
    pairs: dict[tuple[str, str | None], list[float]] = {}
    seen: Counter[str] = Counter()
    for e in evidence:
        instances = e.sample.layout.instances
        cosines, other = similarities(e, kind), others(instances)
        for i, j in np.argwhere(np.isfinite(cosines)):
            own = i == j
            if own or other[i, j]:
                key = (instances[i].category, None if own else instances[j].category)
                pairs.setdefault(key, []).append(float(cosines[i, j]))
                seen[instances[i].category] += own
    if not pairs:
        return None
    ranked = sorted(seen, key=lambda c: (-seen[c], c))
    categories = ranked[:MOST]

    def cell(row: str, column: str | None) -> list[Any]:
        values = pairs.get((row, column), [])
        return [float(np.mean(values)) if values else None, len(values)]

    return {
        "categories": categories,
        "own": [cell(c, None) for c in categories],
        "others": [[cell(c, d) for d in categories] for c in categories],
        "left_out": sum(seen[c] for c in ranked[MOST:]),
    }
