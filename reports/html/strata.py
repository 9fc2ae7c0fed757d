"""The crossed breakdown: mean score by combination of bins and method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from layoutmark.html_templates import clean_text

from .bins import sort_bins
from .results import Metric, Results
from .stratum_plots import MIN_SAMPLES_PER_BIN, mean_by_sample, stratum_metric

CROSSED_STRATA = ("count", "size", "overlap")
SHADE_COUNT = 5


class CrossedCell(NamedTuple):
    """Mean over the `n` samples of `of` that have a score; `shade` is 1 to 5 by value, 0 for few samples."""

    mean: float | None
    n: int
    of: int
    shade: int


class CrossedRow(NamedTuple):
    """One combination of bins, with a cell per method."""

    bins: tuple[str, ...]
    sample_count: int
    cells: list[CrossedCell]


class CrossedTable(NamedTuple):
    """Rows of `metric` by `strata`; `methods` names the columns."""

    metric: Metric
    strata: list[str]
    methods: list[str]
    rows: list[CrossedRow]
    min_samples: int = MIN_SAMPLES_PER_BIN


def crossed_table(results: Results) -> CrossedTable | None:
    """The table over `CROSSED_STRATA`; None if fewer than two of them are present."""
    strata = [s for s in CROSSED_STRATA if any(s in (x.get("strata") or {}) for x in results.samples)]
    metric = stratum_metric(results)
    if len(strata) < 2 or metric is None:
        return None
    means = mean_by_sample(results.images, metric.name)
    methods = [str(m["name"]) for m in results.methods or results.references]
    rows = [
        CrossedRow(bins, len(ids), [_make_cell(means.get(m, {}), ids, metric) for m in methods])
        for bins, ids in _combine_bins(results, strata)
    ]
    return CrossedTable(metric, strata, methods, rows)


def _combine_bins(results: Results, strata: list[str]) -> list[tuple[tuple[str, ...], list[str]]]:
    """(bins, sample ids) in the natural order of the bins."""
    ids: dict[tuple[str, ...], list[str]] = {}
    for sample in results.samples:
        bins: Mapping[str, Any] = sample.get("strata") or {}
        if all(s in bins for s in strata):
            ids.setdefault(tuple(clean_text(bins[s]) for s in strata), []).append(str(sample["id"]))
    orders = [sort_bins(list(dict.fromkeys(key[k] for key in ids))) for k in range(len(strata))]
    return sorted(ids.items(), key=lambda item: [order.index(v) for order, v in zip(orders, item[0], strict=True)])


def _make_cell(means: Mapping[str, float], ids: Sequence[str], metric: Metric) -> CrossedCell:
    values = [means[i] for i in ids if i in means]
    if not values:
        return CrossedCell(None, 0, len(ids), 0)
    mean = math.fsum(values) / len(values)
    return CrossedCell(mean, len(values), len(ids), _shade(mean, metric) if len(values) >= MIN_SAMPLES_PER_BIN else 0)


def _shade(mean: float, metric: Metric) -> int:
    span = metric.high - metric.low
    has_range = math.isfinite(span) and span > 0
    return min(SHADE_COUNT, 1 + int(SHADE_COUNT * (mean - metric.low) / span)) if has_range else 1
