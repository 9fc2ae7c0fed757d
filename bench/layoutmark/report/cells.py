"""The texts of a run's summary in the terminal: scores, counts, reasons."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from layoutmark.metrics import HEADLINE_METRICS
from layoutmark.score import controls_layout, measures_layout

STATUSES = ("ok", "degenerate", "filtered", "not_applicable", "failed", "missing")
MAX_LISTED_REASONS = 3
"""Per method."""
NOT_SCORED = "not scored"
# Names come from files: control characters must not reach the terminal, nor reverse the direction of the line.
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class ScoreCell(NamedTuple):
    """A score as text: its value, its interval or the reason why it is missing, and remarks on it."""

    value: str
    interval: str
    remarks: list[str]


def replace_invisible(text: object) -> str:
    """Text with control and direction characters replaced by U+FFFD."""
    return _INVISIBLE.sub("\ufffd", str(text))


def describe_run(results: Mapping[str, Any]) -> str:
    """Suite, samples, seeds, stack and protocol in one line."""
    suite, stack, seeds = results["suite"], results["stack"], results["seeds"]
    return (
        f"{results['name']}: suite {suite['name']}, {len(results['samples'])} samples, "
        f"seeds {', '.join(map(str, seeds))}, stack {stack['name']}, protocol {results['protocol']['hash']}"
    )


def list_metrics(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The headline metrics of these results, or all metrics if they have none of them."""
    by_name = {m["name"]: m for m in results["metrics"]}
    return [by_name[n] for n in HEADLINE_METRICS if n in by_name] or list(by_name.values())


def format_score(row: Mapping[str, Any] | None, method: Mapping[str, Any], metric: str) -> ScoreCell:
    """The score of `method` on `metric`; `row` is None if it was not measured."""
    remarks = ["not controlled"] if measures_layout(metric) and not controls_layout(method) else []
    if row is None:
        return ScoreCell(NOT_SCORED, "not measured", remarks)
    if row["value"] is None:
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted((row.get("unscored") or {}).items()))
        return ScoreCell(NOT_SCORED, replace_invisible(reasons or "no reason given"), remarks)
    has_interval = row["low"] is not None and row["high"] is not None
    interval = f"[{row['low']:.3f}, {row['high']:.3f}]" if has_interval else "no interval"
    if row.get("worst") not in (None, row["value"]):
        remarks.insert(0, f"lost = worst {row['worst']:.3f}")
    if row["n"] != row["of"]:
        remarks.insert(0, f"{row['n']} of {row['of']}")
    return ScoreCell(f"{row['value']:.3f}", interval, remarks)


def is_best(results: Mapping[str, Any], method: Mapping[str, Any], metric: str) -> bool:
    """Whether `method` is in the best tie group of `metric`; never without a second method."""
    groups = results["ties"].get(metric) or [[]]
    methods = [m for m in results["methods"] if m.get("kind") != "reference"]
    return len(methods) > 1 and method["name"] in groups[0]


def list_statuses(method: Mapping[str, Any]) -> list[str]:
    """``11 ok``, ``1 missing``: numbers of images by status."""
    counts = method.get("counts") or {}
    return [f"{counts[s]} {s.replace('_', ' ')}" for s in STATUSES if counts.get(s)] or ["none"]


def list_reasons(results: Mapping[str, Any], file: str) -> Iterator[str]:
    """Reasons why images of methods are not ok, the most frequent first; `file` holds those that are not listed."""
    for method in results["methods"]:
        if method.get("kind") == "reference":
            continue
        reasons = sorted((method.get("reasons") or {}).items(), key=lambda item: (-item[1], item[0]))
        yield from (f"{method['name']}: {count} x {reason}" for reason, count in reasons[:MAX_LISTED_REASONS])
        if len(reasons) > MAX_LISTED_REASONS:
            yield f"{method['name']}: {len(reasons) - MAX_LISTED_REASONS} more in {file}"


def list_adversaries(results: Mapping[str, Any]) -> Iterator[str]:
    """Metrics on which an adversary beats every method."""
    titles = {m["name"]: m["title"] for m in results["metrics"]}
    for record in results.get("adversaries_ahead") or ():
        title = titles.get(record["metric"], record["metric"])
        beaten = "every method and the true images" if record["above_ceiling"] else "every method"
        yield f"{title}: {record['row']} beats {beaten} with {record['value']:.3f}; read it together with other metrics"
