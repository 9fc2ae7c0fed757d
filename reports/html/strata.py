"""The crossed breakdown: one row a combination of bins, one column a method, grey where few samples stand behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .payload import ordered
from .plots import FEW, sample_means, stratum_metric
from .results import Metric, Results
from .text import clean, count, esc, name, number

CROSSED = ("count", "size", "overlap")
SHADES = 5


def crossed(results: Results) -> str:
    """An HTML table of means by the strata `CROSSED`; empty when fewer than two of them are there."""
    strata = [s for s in CROSSED if any(s in (x.get("strata") or {}) for x in results.samples)]
    metric = stratum_metric(results)
    if len(strata) < 2 or metric is None:
        return ""
    means = sample_means(results.images, metric.name)
    methods = results.methods or results.references
    heads = "".join(f'<th scope="col">{name(m["name"])}</th>' for m in methods)
    rows = "".join(
        _row(key, ids, [means.get(str(m["name"]), {}) for m in methods], metric)
        for key, ids in _combinations(results, strata)
    )
    bins = "".join(f'<th scope="col" class="words">{esc(s)}</th>' for s in strata)
    by = ", ".join(esc(s) for s in strata)
    return (
        f"<details><summary>{name(metric.title)} by {by} together</summary>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Crossed strata"><table class="bins-table">'
        f'<thead><tr>{bins}<th scope="col">samples</th>{heads}</tr></thead>'
        f'<tbody>{rows}</tbody></table></div><p class="key">Mean over samples; grey and slanted where fewer than {FEW} '
        "samples have a number. A darker cell is a higher number.</p></details>"
    )


def _combinations(results: Results, strata: list[str]) -> list[tuple[tuple[str, ...], list[str]]]:
    """(bins, ids of samples) in the natural order of the bins."""
    found: dict[tuple[str, ...], list[str]] = {}
    for sample in results.samples:
        bins: Mapping[str, Any] = sample.get("strata") or {}
        if all(s in bins for s in strata):
            found.setdefault(tuple(clean(bins[s]) for s in strata), []).append(str(sample["id"]))
    orders = [ordered(list(dict.fromkeys(key[k] for key in found))) for k in range(len(strata))]
    return sorted(found.items(), key=lambda item: [order.index(v) for order, v in zip(orders, item[0], strict=True)])


def _row(key: tuple[str, ...], ids: list[str], means: list[dict[str, float]], metric: Metric) -> str:
    heads = "".join(f'<th scope="row">{name(v)}</th>' for v in key)
    cells = "".join(_cell([by[i] for i in ids if i in by], len(ids), metric) for by in means)
    return f"<tr>{heads}<td>{count(len(ids))}</td>{cells}</tr>"


def _cell(values: list[float], of: int, metric: Metric) -> str:
    if not values:
        return '<td class="unscored">not scored</td>'
    mean = math.fsum(values) / len(values)
    few = "" if len(values) == of else f"<small>n {count(len(values))}</small>"
    if len(values) < FEW:
        return f'<td class="few-samples">{number(mean)}{few}</td>'
    span = metric.high - metric.low
    shade = min(SHADES, 1 + int(SHADES * (mean - metric.low) / span)) if math.isfinite(span) and span > 0 else 1
    return f'<td class="heat{shade}">{number(mean)}{few}</td>'
