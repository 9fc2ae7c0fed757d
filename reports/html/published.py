"""Published figures beside those measured here, and whether the two can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .results import Cell, Results
from .text import finite_or_none


class PublishedRow(NamedTuple):
    """A published figure of a method, the score measured here, and what differs between the two set-ups."""

    method: str
    metric_title: str
    claim: float | None
    cell: Cell | None
    difference: float | None
    differences: list[str]
    verdict: str
    source: str
    note: str


def published_rows(results: Results) -> list[PublishedRow]:
    """One row per figure that a method's card quotes."""
    return [_make_row(results, m, figure) for m in results.methods for figure in m.get("published") or ()]


def _make_row(results: Results, method: Mapping[str, Any], figure: Mapping[str, Any]) -> PublishedRow:
    name, metric = str(method["name"]), results.metrics.get(str(figure["metric"]))
    cell, claim = results.cell(name, str(figure["metric"])), finite_or_none(figure["value"])
    differences = _list_differences(results, figure)
    difference = None if cell is None or cell.value is None or claim is None else cell.value - claim
    return PublishedRow(
        method=name,
        metric_title=metric.title if metric else str(figure["metric"]),
        claim=claim,
        cell=None if difference is None else cell,
        difference=None if differences else difference,
        differences=differences,
        verdict=_judge(cell, claim, differences),
        source=str(figure["source"]),
        note=str(figure.get("note") or ""),
    )


def _list_differences(results: Results, figure: Mapping[str, Any]) -> list[str]:
    """Each part of the set-up that differs from the source's, as ``suite: theirs, here ours``."""
    suite, stack = str(results.data["suite"]["name"]), str(results.data["stack"]["name"])
    differences = []
    if figure["suite"] != suite:
        differences.append(f"suite: {figure['suite']}, here {suite}")
    if figure["stack"] != stack:
        differences.append(f"stack: {figure['stack']}, here {stack}")
    scorers = [str(s) for s in (results.data["stack"].get("scorers") or {}).values()]
    if str(figure["scorer"]) not in scorers:
        differences.append(f"scorer: {figure['scorer']}")
    return differences


def _judge(cell: Cell | None, claim: float | None, differences: list[str]) -> str:
    if cell is None or cell.value is None or claim is None:
        return "not measured"
    if differences:
        return "not comparable"
    if cell.low is None or cell.high is None:
        return "no interval"
    if cell.low <= claim <= cell.high:
        return "agrees: the published figure lies in the interval"
    return "ours is lower" if cell.high < claim else "ours is higher"
