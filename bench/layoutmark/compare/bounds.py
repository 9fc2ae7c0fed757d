"""What the reference rows say of the others: scores between floor and ceiling, and columns that an adversary leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layoutmark.metrics import HEADLINE
from layoutmark.plan.reference_rows import ADVERSARY, BLANK, CEILING, FLOOR, SHUFFLED

OF_PICTURES = (
    "clip_iqa",
    "quality_",
    "contrast",
    "saturation",
    "clip_i_diversity",
    "dino_diversity",
    "lpips_",
    "kid_",
    "fid_",
)
"""How the names of metrics begin that ask nothing of the layout: shuffled layouts leave them as they are and are no
floor of theirs."""
ROUNDING = 1e-9
"""Equal pixels give equal vectors, but not always the last digit of their mean."""
Row = Mapping[str, Any]


def normalised(rows: Sequence[Row], references: Sequence[str]) -> list[dict[str, Any]]:
    """The rows, each with `normalised`: (value - floor) / (ceiling - floor), and `not_normalised`: why there is none.

    The floor of a metric is the best floor row that has a number.  0 is that floor, 1 the true images; a row can lie
    outside.  Both ends are measured on the same samples, and their own uncertainty is left out.
    """
    held = {(r["method"], r["metric"]): r for r in rows if r["method"] in references}
    return [{**r, **_placed(r, held, references)} for r in rows]


def _placed(row: Row, held: Mapping[tuple[str, str], Row], references: Sequence[str]) -> dict[str, Any]:
    metric, sign = row["metric"], 1 if row["higher_is_better"] else -1
    top = held.get((CEILING, metric))
    floors = [
        held[name, metric]["value"]
        for name in references
        if name.startswith(FLOOR)
        and (name, metric) in held
        and not (name == SHUFFLED and metric.startswith(OF_PICTURES))
    ]
    known = [v for v in floors if v is not None]
    why = ""
    if row["value"] is None:
        why = "no value"
    elif top is None or top["value"] is None:
        why = "true images have no value"
    elif not known:
        why = "no floor row has a value"
    elif sign * (top["value"] - max(known, key=lambda v: sign * v)) <= ROUNDING:
        why = "a floor row equals or beats the true images"
    if why or top is None:
        return {"normalised": None, "not_normalised": why}
    floor = max(known, key=lambda v: sign * v)
    return {"normalised": (row["value"] - floor) / (top["value"] - floor), "not_normalised": ""}


def adversaries_ahead(rows: Sequence[Row], references: Sequence[str]) -> list[dict[str, Any]]:
    """Headline metrics on which an adversary, or the blank row, is better than every method.

    One entry a metric: `metric`, `row` (the best adversary), `value`, and `above_ceiling`, whether the true images are
    left behind too.  A column that an adversary leads ranks methods only beside the columns it does not lead.
    """
    found = []
    for name in HEADLINE:
        mine = {r["method"]: r for r in rows if r["metric"] == name and r["value"] is not None}
        if not mine:
            continue
        sign = 1 if next(iter(mine.values()))["higher_is_better"] else -1
        score = {m: sign * r["value"] for m, r in mine.items()}
        tricks = [m for m in score if m in references and (m.startswith(ADVERSARY) or m == BLANK)]
        methods = [m for m in score if m not in references]
        top = score.get(CEILING)
        rivals = [score[m] for m in methods] or ([top] if top is not None else [])
        best = max(tricks, key=lambda m: score[m], default=None)
        if best is None or not rivals or score[best] <= max(rivals) + ROUNDING:
            continue
        above = top is not None and score[best] > top + ROUNDING
        found.append({"metric": name, "row": best, "value": mine[best]["value"], "above_ceiling": above})
    return found
