"""Results as short Markdown: the table, significant differences, and images that were lost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from layoutmark.atomic import write_text
from layoutmark.score import controls_layout, measures_layout

HEADLINE = ("ap50", "miou", "clip_i", "dino", "clip_t", "clip_iqa")
MAX_LISTED_DIFFERENCES = 40
"""Further differences are only counted, to keep a comment short."""
ALPHA = 0.05
LOST_STATUSES = ("failed", "missing", "not_applicable", "filtered")
# Names come from files: none may end a cell, start a tag, mention a user, or reverse the direction of the line.
INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>~@])")
Results = Mapping[str, Any]


def render(results: Results, run: Path, out: Path) -> Path:  # noqa: ARG001
    """Write `summary.md` below `out`; returns it."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "summary.md"
    write_text(path, "\n".join(_render_lines(results)).rstrip() + "\n")
    return path


def _render_lines(results: Results) -> Iterator[str]:
    suite, stack = results["suite"], results["stack"]
    yield f"### {_escape(results['name'])}"
    yield ""
    seeds = ", ".join(map(str, results["seeds"]))
    yield (
        f"{_escape(suite['title'])} ({len(results['samples'])} samples, seeds {seeds}), {_escape(stack['title'])}, "
        f"protocol `{results['protocol']['hash']}`"
    )
    yield ""
    yield from _render_table(results)
    yield ""
    yield from _render_differences(results)
    if uncontrolled := [_escape(m["name"]) for m in results["methods"] if not controls_layout(m)]:
        yield ""
        names = ", ".join(uncontrolled)
        yield f"Not controlled (no layout is read): {names}. Layout scores show what the prompt alone reaches."
    lost = [line for method in results["methods"] for line in _describe_lost(method)]
    if lost:
        yield ""
        yield from (f"- {line}" for line in lost)


def _render_differences(results: Results) -> Iterator[str]:
    differences = list(_list_differences(results))
    for line in differences[:MAX_LISTED_DIFFERENCES]:
        yield f"- {line}"
    if len(differences) > MAX_LISTED_DIFFERENCES:
        yield f"- and {len(differences) - MAX_LISTED_DIFFERENCES} more significant differences in results.json"
    if not differences and len(_methods(results)) > 1:
        yield "No difference between methods is significant: every Holm-adjusted p value is 0.05 or more."


def _render_table(results: Results) -> Iterator[str]:
    metrics = [m for name in HEADLINE for m in results["metrics"] if m["name"] == name]
    rows = {(r["method"], r["metric"]): r for r in results["rows"]}
    yield f"| method | {' | '.join(_escape(m['title']) + (' ↑' if m['higher_is_better'] else ' ↓') for m in metrics)} |"
    yield "|---|" + "---|" * len(metrics)
    for method in sorted(results["methods"], key=lambda m: m["kind"] == "reference"):
        cells = []
        for metric in metrics:
            groups = results["ties"].get(metric["name"]) or [[]]
            is_best = method["name"] in groups[0] and len(_methods(results)) > 1
            is_uncontrolled = measures_layout(metric["name"]) and not controls_layout(method)
            cell = _format_cell(rows.get((method["name"], metric["name"])), is_best=is_best)
            cells.append(cell + " (not controlled)" * is_uncontrolled)
        name = _escape(method["name"])
        yield f"| {f'*{name}*' if method['kind'] == 'reference' else name} | {' | '.join(cells)} |"


def _format_cell(row: Mapping[str, Any] | None, *, is_best: bool) -> str:
    if row is None or row["value"] is None:
        unscored = {} if row is None else row["unscored"]
        reasons = ", ".join(f"{n} {_escape(reason)}" for reason, n in sorted(unscored.items()))
        return f"not scored ({reasons or 'not measured'})" + _format_worst(row)
    value = f"**{row['value']:.3f}**" if is_best else f"{row['value']:.3f}"
    interval = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    count = "" if row["n"] == row["of"] else f", {row['n']} of {row['of']}"
    return value + interval + count + _format_worst(row)


def _format_worst(row: Mapping[str, Any] | None) -> str:
    """The value if lost images had scored worst, where it is known and differs."""
    worst = None if row is None else row.get("worst")
    return "" if row is None or worst in (None, row["value"]) else f"; {worst:.3f} if lost = worst"


def _list_differences(results: Results) -> Iterator[str]:
    """Differences that are significant after Holm's correction, from the better method's point of view."""
    metrics = {m["name"]: m for m in results["metrics"]}
    for pair in results["pairs"]:
        if pair["p_holm"] is None or pair["p_holm"] >= ALPHA or pair["low"] <= 0 <= pair["high"]:
            continue
        metric = metrics[pair["metric"]]
        a_is_better = (pair["difference"] > 0) == metric["higher_is_better"]
        better, worse = (pair["a"], pair["b"]) if a_is_better else (pair["b"], pair["a"])
        sign = 1 if better == pair["a"] else -1
        low, high = sorted((sign * pair["low"], sign * pair["high"]))
        yield (
            f"**{_escape(better)}** better than {_escape(worse)}: {_escape(metric['title'])} "
            f"{sign * pair['difference']:+.3f} "
            f"[{low:+.3f}, {high:+.3f}], n {pair['n']}"
        )


def _describe_lost(method: Mapping[str, Any]) -> Iterator[str]:
    counts = method["counts"]
    lost = [f"{counts[s]} {s.replace('_', ' ')}" for s in LOST_STATUSES if counts.get(s)]
    if lost:
        yield f"{_escape(method['name'])}: {', '.join(lost)} of {counts['requested']}"


def _methods(results: Results) -> list[Mapping[str, Any]]:
    return [m for m in results["methods"] if m["kind"] != "reference"]


def _escape(value: Any) -> str:
    """Text that Markdown shows as it is, without invisible characters."""
    return SPECIAL.sub(r"\\\1", INVISIBLE.sub("\ufffd", str(value)))
