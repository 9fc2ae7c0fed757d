"""Results as a short Markdown text: table, certain differences, what was not scored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from layoutmark.score import controls_layout, measures_layout

HEADLINE = ("ap50", "miou", "clip_i", "dino", "clip_t", "clip_iqa")
MOST = 40
"""Most differences that are listed; a comment is no place for more."""
LEVEL = 0.05
# Names come from files: none may end a cell, start a tag, mention a user, or turn the line around.
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
MARKS = re.compile(r"([\\`*_{}\[\]()#+!|<>~@])")
Results = Mapping[str, Any]


def render(results: Results, run: Path, out: Path) -> Path:  # noqa: ARG001
    """Write `summary.md` below `out`; returns it."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "summary.md"
    path.write_text("\n".join(_lines(results)).rstrip() + "\n", "utf-8")
    return path


def _lines(results: Results) -> Iterator[str]:
    suite, stack = results["suite"], results["stack"]
    yield f"### {_text(results['name'])}"
    yield ""
    yield (
        f"{_text(suite['title'])} ({len(results['samples'])} samples, seeds {', '.join(map(str, results['seeds']))}), "
        f"{_text(stack['title'])}, protocol `{results['protocol']['hash']}`"
    )
    yield ""
    yield from _table(results)
    yield ""
    certain = list(_certain(results))
    for line in certain[:MOST]:
        yield f"- {line}"
    if len(certain) > MOST:
        yield f"- and {len(certain) - MOST} more certain differences in results.json"
    if not certain and len(_methods(results)) > 1:
        yield "No difference between methods is certain (Holm-adjusted p of 0.05 or more)."
    if free := [_text(m["name"]) for m in results["methods"] if not controls_layout(m)]:
        yield ""
        yield f"Not controlled: {', '.join(free)} read no layout, so layout scores say what chance and the prompt give."
    lost = [line for method in results["methods"] for line in _lost(method)]
    if lost:
        yield ""
        yield from (f"- {line}" for line in lost)


def _table(results: Results) -> Iterator[str]:
    metrics = [m for name in HEADLINE for m in results["metrics"] if m["name"] == name]
    rows = {(r["method"], r["metric"]): r for r in results["rows"]}
    yield f"| method | {' | '.join(_text(m['title']) + (' ↑' if m['higher_is_better'] else ' ↓') for m in metrics)} |"
    yield "|---|" + "---|" * len(metrics)
    for method in sorted(results["methods"], key=lambda m: m["kind"] == "reference"):
        cells = []
        for metric in metrics:
            groups = results["ties"].get(metric["name"]) or [[]]
            best = method["name"] in groups[0] and len(_methods(results)) > 1
            free = measures_layout(metric["name"]) and not controls_layout(method)
            cells.append(_cell(rows.get((method["name"], metric["name"])), best) + " (not controlled)" * free)
        name = _text(method["name"])
        yield f"| {f'*{name}*' if method['kind'] == 'reference' else name} | {' | '.join(cells)} |"


def _cell(row: Mapping[str, Any] | None, best: bool) -> str:
    if row is None or row["value"] is None:
        why = "" if row is None else ", ".join(f"{n} {_text(reason)}" for reason, n in sorted(row["unscored"].items()))
        return f"not scored ({why or 'not measured'})" + _worst(row)
    span = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    few = "" if row["n"] == row["of"] else f", {row['n']} of {row['of']}"
    return (f"**{row['value']:.3f}**" if best else f"{row['value']:.3f}") + span + few + _worst(row)


def _worst(row: Mapping[str, Any] | None) -> str:
    """The value if lost images counted as the worst, where there are some and that is known."""
    worst = None if row is None else row.get("worst")
    return "" if row is None or worst in (None, row["value"]) else f"; {worst:.3f} if lost = worst"


def _certain(results: Results) -> Iterator[str]:
    """Differences whose interval leaves out zero after Holm's correction, the better method first."""
    metrics = {m["name"]: m for m in results["metrics"]}
    for pair in results["pairs"]:
        if pair["p_holm"] is None or pair["p_holm"] >= LEVEL or pair["low"] <= 0 <= pair["high"]:
            continue
        metric = metrics[pair["metric"]]
        first = (pair["difference"] > 0) == metric["higher_is_better"]
        better, worse = (pair["a"], pair["b"]) if first else (pair["b"], pair["a"])
        sign = 1 if better == pair["a"] else -1
        low, high = sorted((sign * pair["low"], sign * pair["high"]))
        yield (
            f"**{_text(better)}** better than {_text(worse)}: {_text(metric['title'])} "
            f"{sign * pair['difference']:+.3f} "
            f"[{low:+.3f}, {high:+.3f}], n {pair['n']}"
        )


def _lost(method: Mapping[str, Any]) -> Iterator[str]:
    counts = method["counts"]
    lost = {s: counts.get(s, 0) for s in ("failed", "missing", "not_applicable", "filtered")}
    told = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in lost.items() if n)
    if told:
        yield f"{_text(method['name'])}: {told} of {counts['requested']}"


def _methods(results: Results) -> list[Mapping[str, Any]]:
    return [m for m in results["methods"] if m["kind"] != "reference"]


def _text(value: Any) -> str:
    return MARKS.sub(r"\\\1", UNSEEN.sub("\ufffd", str(value)))
