"""Limits of the scores: the scorers on true images by group, and scores between floor and ceiling."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from layoutmark.html_templates import clean_text

from .bins import sort_bins
from .results import CEILING, Metric, Results
from .text import finite_or_none

MIN_RECALL = 0.5
"""If the detector finds a smaller share of a group on true images, scores say little about methods in that group."""
MIN_TARGETS = 10
"""Means over fewer targets are grey."""
TARGET_METRICS = ("recall50", "miou", "clip_i_identity", "dino_identity", "clip_t_phrase", "colour_accuracy")
STRATA = ("size", "overlap", "count")
CATEGORY = "category"
TargetScores = Mapping[str, Any]
Group = tuple[str, str]
"""A stratum, or `CATEGORY`, and its value."""


class GroupCell(NamedTuple):
    """Mean over `n` targets; None if none of them has a score."""

    mean: float | None
    n: int


class GroupRow(NamedTuple):
    """Means over the targets of one group."""

    key: str
    value: str
    target_count: int
    cells: list[GroupCell]
    is_rarely_detected: bool


class TrueImageTable(NamedTuple):
    """Scores of single targets on true images; a cell per metric in each row."""

    metrics: list[Metric]
    rows: list[GroupRow]
    min_targets: int = MIN_TARGETS


class NormalisedRow(NamedTuple):
    """A method's scores between the best floor row (0) and the true images (1), None where unknown."""

    method: str
    values: list[float | None]


class Calibration(NamedTuple):
    """Both tables; each is None if the results cannot fill it."""

    true_images: TrueImageTable | None
    normalised_metrics: list[Metric]
    normalised_rows: list[NormalisedRow]


def calibrate(results: Results) -> Calibration | None:
    """The calibration tables; None without a ceiling row."""
    if CEILING not in [str(r["name"]) for r in results.references]:
        return None
    return Calibration(_true_image_table(results), *_normalise(results))


def _true_image_table(results: Results) -> TrueImageTable | None:
    """Means by category and by stratum."""
    groups = _group_targets(results)
    metrics = [m for name in TARGET_METRICS if (m := results.metrics.get(name)) and _is_scored(m, groups.values())]
    if not metrics:
        return None
    rows = []
    for key in (CATEGORY, *STRATA):
        values = [value for group_key, value in groups if group_key == key]
        for value in sorted(values) if key == CATEGORY else sort_bins(values):
            rows.append(_group_row(key, value, groups[key, value], metrics))
    return TrueImageTable(metrics, rows)


def _group_targets(results: Results) -> dict[Group, list[TargetScores]]:
    """Scores of the targets of true images by group; seeds do not change a true image, so the first one counts."""
    samples = {str(s["id"]): s for s in results.samples}
    first_seed = min((image["seed"] for image in results.images if image["method"] == CEILING), default=0)
    groups: dict[Group, list[TargetScores]] = {}
    for image in results.images:
        sample = samples.get(str(image["sample"]))
        if image["method"] != CEILING or sample is None or image["seed"] != first_seed:
            continue
        for instance in sample["instances"]:
            scores = (image.get("instances") or {}).get(instance["id"]) or {}
            for group in _list_groups(sample, instance):
                groups.setdefault(group, []).append(scores)
    return groups


def _list_groups(sample: Mapping[str, Any], instance: Mapping[str, Any]) -> Iterator[Group]:
    yield CATEGORY, clean_text(instance["category"])
    for stratum, value in (sample.get("strata") or {}).items():
        if stratum in STRATA:
            yield stratum, clean_text(value)


def _is_scored(metric: Metric, groups: Any) -> bool:
    return any(finite_or_none(scores.get(metric.name)) is not None for targets in groups for scores in targets)


def _group_row(key: str, value: str, targets: Sequence[TargetScores], metrics: Sequence[Metric]) -> GroupRow:
    cells = [_mean_cell([v for t in targets if (v := finite_or_none(t.get(m.name))) is not None]) for m in metrics]
    recalls = [cell.mean for cell, metric in zip(cells, metrics, strict=True) if metric.name == "recall50"]
    is_rarely_detected = any(recall is not None and recall < MIN_RECALL for recall in recalls)
    return GroupRow(key, value, len(targets), cells, is_rarely_detected)


def _mean_cell(values: Sequence[float]) -> GroupCell:
    return GroupCell(math.fsum(values) / len(values) if values else None, len(values))


def _normalise(results: Results) -> tuple[list[Metric], list[NormalisedRow]]:
    """Headline metrics with a normalised value, and a row per method."""
    names = [str(m["name"]) for m in results.methods]
    values = {
        (name, metric.name): cell.normalised
        for name in names
        for metric in results.headline_metrics
        if (cell := results.cell(name, metric.name)) is not None and cell.normalised is not None
    }
    metrics = [m for m in results.headline_metrics if any(m.name == metric for _, metric in values)]
    rows = [NormalisedRow(name, [values.get((name, m.name)) for m in metrics]) for name in names]
    return metrics, rows if metrics else []
