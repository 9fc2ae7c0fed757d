"""How large a study must be, asked of a pilot: finished rows, and a difference worth finding."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from layoutmark.compare.pairs import scored_by_both, shared
from layoutmark.compare.rows import LEVEL, Resamples
from layoutmark.compare.spread import set_spread
from layoutmark.compare.stored import Rows
from layoutmark.door import Metric
from layoutmark.errors import LayoutmarkError
from layoutmark.metrics import SetMetric
from layoutmark.statistics import designs, needed_clusters, split_spread

POWER = 0.8


def design_study(rows: Rows, metric: str, detect: float, power: float = POWER, comparisons: int = 1) -> dict[str, Any]:
    """For every pair of the pilot's rows, the fewest prompts with 1, 2, 4 and 8 seeds that find a difference.

    metric: its name.  detect: the least difference that matters, in the metric's unit.  comparisons: how many
    differences Holm's correction will run over; the hardest of them is planned for.  The standard errors are those of a
    comparison of the same rows, also of AP, which is no mean of images (`set_spread`).

    Raises LayoutmarkError for a metric that the pilot does not have, no comparison, and as `designs` does.
    """
    chosen = _named(rows.metrics, metric)
    if comparisons < 1:
        raise LayoutmarkError(
            "comparisons", found=str(comparisons), expected="1 or more", do="Count the differences that are tested."
        )
    level = 1 - (1 - LEVEL) / comparisons
    # What is asked is refused before the pilot is looked at, which may have no answer.
    needed_clusters(0.0, detect, level, power)
    resamples = Resamples()
    pairs = []
    for a, b in combinations(rows.evidence, 2):
        both = shared(rows.evidence[a], rows.evidence[b])
        if isinstance(chosen, SetMetric):
            mine, theirs = [rows.evidence[a][i] for i, _ in both], [rows.evidence[b][j] for _, j in both]
            prompts, n = [e.sample.prompt for e in mine], len(mine)
            spread = set_spread(chosen, mine, theirs, resamples=resamples)
        else:
            outcomes = rows.outcomes[a][metric], rows.outcomes[b][metric]
            x, y, prompts = scored_by_both(rows.evidence[a], outcomes[0], outcomes[1], both)
            n = len(x)
            spread = split_spread(x - y, prompts) if len(set(prompts)) > 1 else None
        pair: dict[str, Any] = {"a": a, "b": b, "n": n, "prompts": len(set(prompts))}
        if spread is not None:
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
