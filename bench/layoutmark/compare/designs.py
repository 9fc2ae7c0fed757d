"""How large a study must be, asked of a pilot: finished rows, and a difference worth finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from layoutmark.api import Metric
from layoutmark.compare.pairs import scored_by_both, shared
from layoutmark.compare.rows import LEVEL, Resamples
from layoutmark.compare.spread import set_spread
from layoutmark.compare.stored_runs import Rows, named
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import SampleOutcome
from layoutmark.metrics import SetMetric, summary
from layoutmark.statistics import designs, needed_clusters, split_spread

POWER = 0.8


def design_study(rows: Rows, metric: str, detect: float, power: float = POWER, comparisons: int = 1) -> dict[str, Any]:
    """For every pair of the pilot's rows, the fewest prompts with 1, 2, 4 and 8 seeds that find a difference.

    metric: its name.  detect: the least difference that matters, in the metric's unit.  comparisons: how many
    differences Holm's correction will run over; the hardest of them is planned for.  The standard errors are those of a
    comparison of the same rows, also of AP, which is no mean of images (`set_spread`).

    Raises LayoutmarkError for a metric that the pilot does not have, no comparison, and as `designs` does.
    """
    chosen = named(rows.metrics, metric)
    if comparisons < 1:
        raise LayoutmarkError(
            "comparisons", found=str(comparisons), expected="1 or more", do="Count the differences that are tested."
        )
    if detect > chosen.info.high - chosen.info.low:
        raise LayoutmarkError(
            "margin", found=repr(detect),
            expected=f"at most {chosen.info.high - chosen.info.low:g}: {metric} lies between {chosen.info.low:g} and "
            f"{chosen.info.high:g}", do="Write two points of a hundred as 0.02.",
        )  # fmt: skip
    level = 1 - (1 - LEVEL) / comparisons
    # What is asked is refused before the pilot is looked at, which may have no answer.
    needed_clusters(0.0, detect, level, power)
    resamples = Resamples()
    pairs = []
    for a, b in combinations(rows.evidence, 2):
        both = shared(rows.evidence[a], rows.evidence[b])
        outcomes = rows.outcomes[a][metric], rows.outcomes[b][metric]
        x, y, samples = scored_by_both(rows.evidence[a], *outcomes, both)
        spread = None
        if isinstance(chosen, SetMetric):
            mine, theirs = [rows.evidence[a][i] for i, _ in both], [rows.evidence[b][j] for _, j in both]
            samples = [e.sample for e in mine]
            spread = set_spread(chosen, mine, theirs, resamples=resamples)
        elif len({s.prompt for s in samples}) > 1:
            spread = split_spread(x - y, [s.prompt for s in samples], [s.id for s in samples])
        pairs.append({
            "a": a, "b": b, "n": len(samples), "prompts": len({s.prompt for s in samples}),
            "between_prompts": None if spread is None else spread.prompts,
            "between_seeds": None if spread is None else spread.seeds,
            "designs": [asdict(d) for d in designs(spread, detect, level=level, power=power)] if spread else [],
            "reason": "" if spread else _why_not(chosen, rows, (a, b), outcomes),
        })  # fmt: skip
    return {
        "metric": metric, "unit": chosen.info.unit, "detect": detect, "level": level, "power": power, "pairs": pairs,
    }  # fmt: skip


def _why_not(metric: Metric, rows: Rows, names: Sequence[str], outcomes: Sequence[Sequence[SampleOutcome]]) -> str:
    """Why no spread is known: what was not scored, else too few prompts or a metric whose error is not known."""
    summaries = [
        metric.summarise(rows.evidence[name]) if isinstance(metric, SetMetric) else summary(said)
        for name, said in zip(names, outcomes, strict=True)
    ]
    reasons = dict.fromkeys(reason for found in summaries if found.value is None for reason in found.unscored)
    return ("not scored: " + ", ".join(reasons)) if reasons else "fewer than two prompts that both have"
