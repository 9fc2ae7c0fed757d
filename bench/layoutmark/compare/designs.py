"""How large a study must be, asked of a pilot: finished rows, and a difference worth finding."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np

from layoutmark.compare.pairs import Floats, scored_by_both, shared
from layoutmark.compare.rows import LEVEL
from layoutmark.compare.stored import Rows
from layoutmark.door import Metric
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Evidence
from layoutmark.metrics import SetMetric
from layoutmark.statistics import designs, pseudo_values, split_spread

POWER = 0.8


def design_study(rows: Rows, metric: str, detect: float, power: float = POWER, comparisons: int = 1) -> dict[str, Any]:
    """For every pair of the pilot's rows, the fewest prompts with 1, 2, 4 and 8 seeds that find a difference.

    metric: its name.  detect: the least difference that matters, in the metric's unit.  comparisons: how many
    differences Holm's correction will run over; the hardest of them is planned for.  AP is no mean of images: there an
    image counts with its jackknife pseudo-value.

    Raises LayoutmarkError for a metric that the pilot does not have, and as `designs` does.
    """
    chosen = _named(rows.metrics, metric)
    level = 1 - (1 - LEVEL) / comparisons
    pairs = []
    for a, b in combinations(rows.evidence, 2):
        both = shared(rows.evidence[a], rows.evidence[b])
        if isinstance(chosen, SetMetric):
            mine, theirs = [rows.evidence[a][i] for i, _ in both], [rows.evidence[b][j] for _, j in both]
            prompts = [e.sample.prompt for e in mine]
            differences = _pseudo(chosen, mine) - _pseudo(chosen, theirs)
        else:
            outcomes = rows.outcomes[a][metric], rows.outcomes[b][metric]
            x, y, prompts = scored_by_both(rows.evidence[a], outcomes[0], outcomes[1], both)
            differences = x - y
        pair: dict[str, Any] = {"a": a, "b": b, "n": len(differences), "prompts": len(set(prompts))}
        if len(differences) and len(set(prompts)) > 1:
            spread = split_spread(differences, prompts)
            answers = [asdict(d) for d in designs(spread, detect, level=level, power=power)]
            pairs.append({**pair, "between_prompts": spread.prompts, "between_seeds": spread.seeds, "designs": answers})
        else:
            pairs.append({**pair, "between_prompts": None, "between_seeds": None, "designs": []})
    return {
        "metric": metric, "unit": chosen.info.unit, "detect": detect, "level": level, "power": power, "pairs": pairs,
    }  # fmt: skip


def _named(metrics: Sequence[Metric], name: str) -> Metric:
    known = {m.info.name: m for m in metrics}
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        raise LayoutmarkError(
            "metric", found=repr(name), expected="one of " + ", ".join(known),
            do=f"Did you mean {close[0]!r}?" if close else "Name a metric of the pilot.",
        )  # fmt: skip
    return known[name]


def _pseudo(metric: SetMetric, evidence: Sequence[Evidence]) -> Floats:
    """Pseudo-values (n,); none at all where the set, or the set without one of its images, has no value."""
    value = metric.summarise(evidence).value
    left_out = metric.resampled(evidence, 1 - np.eye(len(evidence), dtype=np.int32))
    return np.empty(0) if value is None or np.isnan(left_out).any() else pseudo_values(value, left_out)
