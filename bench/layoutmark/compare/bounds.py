"""Reference rows put scores in context: values between floor and ceiling, and metrics that an adversary leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layoutmark.metrics import HEADLINE_METRICS
from layoutmark.plan.reference_rows import ADVERSARY_PREFIX, BLANK, CEILING, FLOOR_PREFIX, SHUFFLED

LAYOUT_FREE_PREFIXES = (
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
"""Prefixes of metrics that do not depend on the layout.

Shuffling layouts leaves them unchanged, so the shuffled row is not a floor for them.
"""
MAX_ROUNDING = 1e-9
"""Identical images give identical vectors, but their mean may differ in the last digit."""
Row = Mapping[str, Any]


def add_normalised_values(rows: Sequence[Row], references: Sequence[str]) -> list[dict[str, Any]]:
    """Copy the rows, adding `normalised`, (value - floor) / (ceiling - floor), and `not_normalised`.

    The floor of a metric is the best floor row with a value, and the ceiling the row of true images: 0 is the floor and
    1 the true images, and a row may lie outside. Both are measured on the same samples; their own uncertainty is
    ignored. If there is no normalised value, `normalised` is None and `not_normalised` says why.

    Args:
        rows: Cells of `result_row`.
        references: Names of the rows that are reference rows.

    >>> cell = {"metric": "miou", "higher_is_better": True}
    >>> values = {"ours": 0.5, "ceiling": 0.9, "floor-blank": 0.1}
    >>> rows = [{**cell, "method": name, "value": value} for name, value in values.items()]
    >>> round(add_normalised_values(rows, ["ceiling", "floor-blank"])[0]["normalised"], 3)
    0.5
    """
    reference_rows = {(r["method"], r["metric"]): r for r in rows if r["method"] in references}
    return [{**r, **_normalised_fields(r, reference_rows, references)} for r in rows]


def _normalised_fields(
    row: Row, reference_rows: Mapping[tuple[str, str], Row], references: Sequence[str]
) -> dict[str, Any]:
    metric, sign = row["metric"], 1 if row["higher_is_better"] else -1
    ceiling = reference_rows.get((CEILING, metric))
    floors = [
        reference_rows[name, metric]["value"]
        for name in references
        if name.startswith(FLOOR_PREFIX)
        and (name, metric) in reference_rows
        and not (name == SHUFFLED and metric.startswith(LAYOUT_FREE_PREFIXES))
    ]
    known_floors = [v for v in floors if v is not None]
    reason = ""
    if row["value"] is None:
        reason = "no value"
    elif ceiling is None or ceiling["value"] is None:
        reason = "true images have no value"
    elif not known_floors:
        reason = "no floor row has a value"
    elif sign * (ceiling["value"] - max(known_floors, key=lambda v: sign * v)) <= MAX_ROUNDING:
        reason = "a floor row equals or beats the true images"
    if reason or ceiling is None:
        return {"normalised": None, "not_normalised": reason}
    floor = max(known_floors, key=lambda v: sign * v)
    return {"normalised": (row["value"] - floor) / (ceiling["value"] - floor), "not_normalised": ""}


def metrics_led_by_adversaries(rows: Sequence[Row], references: Sequence[str]) -> list[dict[str, Any]]:
    """Headline metrics on which an adversary, or the blank row, is better than every method.

    A metric that an adversary leads must be read together with metrics that it does not lead.

    Args:
        rows: Cells of `result_row`.
        references: Names of the rows that are reference rows.

    Returns one entry per such metric: `metric`, `row` (the best adversary), its `value`, and `above_ceiling` (whether
    it also beats the true images).

    >>> cell = {"metric": "dino", "higher_is_better": True}
    >>> rows = [{**cell, "method": name, "value": v} for name, v in {"ours": 0.8, "adversary-pasted": 0.9}.items()]
    >>> metrics_led_by_adversaries(rows, ["adversary-pasted"])
    [{'metric': 'dino', 'row': 'adversary-pasted', 'value': 0.9, 'above_ceiling': False}]
    """
    led_metrics = []
    for name in HEADLINE_METRICS:
        row_by_method = {r["method"]: r for r in rows if r["metric"] == name and r["value"] is not None}
        if not row_by_method:
            continue
        sign = 1 if next(iter(row_by_method.values()))["higher_is_better"] else -1
        scores = {m: sign * r["value"] for m, r in row_by_method.items()}
        adversaries = [m for m in scores if m in references and (m.startswith(ADVERSARY_PREFIX) or m == BLANK)]
        ceiling = scores.get(CEILING)
        rivals = [scores[m] for m in scores if m not in references] or ([ceiling] if ceiling is not None else [])
        best = max(adversaries, key=lambda m: scores[m], default=None)
        if best is None or not rivals or scores[best] <= max(rivals) + MAX_ROUNDING:
            continue
        is_above_ceiling = ceiling is not None and scores[best] > ceiling + MAX_ROUNDING
        led_metrics.append(
            {"metric": name, "row": best, "value": row_by_method[best]["value"], "above_ceiling": is_above_ceiling}
        )
    return led_metrics
