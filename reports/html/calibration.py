"""How far the numbers carry: what the scorers see on true images, and scores between floor and ceiling."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .payload import ordered
from .results import CEILING, Metric, Results
from .text import clean, count, esc, finite, name, number

UNSEEN = 0.5
"""A category of which the detector finds less than this share on true images says little about a method."""
FEW = 10
SEEN = ("recall50", "miou", "clip_i_identity", "dino_identity", "clip_t_phrase", "colour_accuracy")
STRATA = ("size", "overlap", "count")


def calibration(results: Results) -> str:
    """HTML tables; empty without a ceiling row."""
    if CEILING not in [str(r["name"]) for r in results.references]:
        return ""
    return _true_images(results) + _normalised(results)


def _true_images(results: Results) -> str:
    """Scores of single targets on true images, by category and by stratum."""
    metrics = [results.metrics[m] for m in SEEN if m in results.metrics]
    samples = {str(s["id"]): s for s in results.samples}
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    # A true image is the same in every seed, and its targets count once.
    first = min((image["seed"] for image in results.images if image["method"] == CEILING), default=0)
    for image in results.images:
        sample = samples.get(str(image["sample"]))
        if image["method"] != CEILING or sample is None or image["seed"] != first:
            continue
        for instance in sample["instances"]:
            part = (image.get("instances") or {}).get(instance["id"]) or {}
            groups.setdefault(("category", clean(instance["category"])), []).append(part)
            for stratum, value in (sample.get("strata") or {}).items():
                if stratum in STRATA:
                    groups.setdefault((stratum, clean(value)), []).append(part)
    shown = [m for m in metrics if any(finite(p.get(m.name)) is not None for parts in groups.values() for p in parts)]
    if not shown:
        return ""
    heads = "".join(f'<th scope="col" title="{esc(m.variant)}">{name(m.title)}</th>' for m in shown)
    rows = ""
    for key in ("category", *STRATA):
        bins = [value for group, value in groups if group == key]
        for value in sorted(bins) if key == "category" else ordered(bins):
            rows += _seen(key, value, groups[key, value], shown)
    return (
        "<h3>What the scorers see on true images</h3>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Calibration"><table class="bins-table"><thead><tr>'
        f'<th scope="col" class="words">group</th><th scope="col">targets</th>{heads}'
        f'<th scope="col" class="words"></th></tr></thead><tbody>{rows}</tbody></table></div>'
        '<p class="key">Means over targets of the ceiling row: no '
        "method can be expected above them. Grey and slanted: fewer than "
        f"{FEW} targets.</p>"
    )


def _seen(key: str, value: str, parts: Sequence[Mapping[str, Any]], metrics: Sequence[Metric]) -> str:
    cells, hardly = "", False
    for metric in metrics:
        values = [v for p in parts if (v := finite(p.get(metric.name))) is not None]
        mean = math.fsum(values) / len(values) if values else None
        hardly = hardly or (metric.name == "recall50" and mean is not None and mean < UNSEEN)
        if mean is None:
            cells += '<td class="unscored">not scored</td>'
        else:
            cells += f"<td{_few(len(values))}>{number(mean)}</td>"
    flag = "hardly seen: its scores say little of a method" if hardly else ""
    head = f'<th scope="row"><span class="quiet">{esc(key)}</span> {name(value)}</th>'
    return f'<tr>{head}<td>{count(len(parts))}</td>{cells}<td class="words">{flag}</td></tr>'


def _few(n: int) -> str:
    return ' class="few-samples"' if n < FEW else ""


def _normalised(results: Results) -> str:
    """(value - floor) / (ceiling - floor), the floor being the best floor row, as the results have it."""
    placed = {
        (str(m["name"]), metric.name): cell.normalised
        for m in results.methods
        for metric in results.headline
        if (cell := results.cell(str(m["name"]), metric.name)) is not None and cell.normalised is not None
    }
    shown = [metric for metric in results.headline if any(metric.name == its for _, its in placed)]
    if not shown:
        return ""
    heads = "".join(f'<th scope="col">{name(metric.title)}</th>' for metric in shown)
    rows = ""
    for method in results.methods:
        row = ""
        for metric in shown:
            value = placed.get((str(method["name"]), metric.name))
            row += '<td class="unscored">not scored</td>' if value is None else f"<td>{number(value)}</td>"
        rows += f'<tr><th scope="row">{name(method["name"])}</th>{row}</tr>'
    return (
        "<h3>Scores between floor and ceiling</h3>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Normalised scores"><table class="bins-table">'
        f'<thead><tr><th scope="col" class="words">method</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
        '<p class="key">0 is the best floor row, 1 the true images. Offered beside the raw scores, never instead: '
        "both ends are measured too, and their own uncertainty is left out here.</p>"
    )
