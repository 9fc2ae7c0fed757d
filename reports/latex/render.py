"""Results as a LaTeX table for a paper; needs the packages booktabs and, for the reference rows, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from layoutmark.score import controls_layout, measures_layout

HEADLINE = ("ap50", "miou", "clip_i", "dino", "clip_t", "clip_iqa")
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
DAGGER = r"\,\dag{}"
Results = Mapping[str, Any]


def render(results: Results, run: Path, out: Path) -> Path:  # noqa: ARG001
    """Write `table.tex` below `out`; returns it."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "table.tex"
    path.write_text("\n".join(_lines(results)) + "\n", "utf-8")
    return path


def _lines(results: Results) -> Iterator[str]:
    metrics = [m for name in HEADLINE for m in results["metrics"] if m["name"] == name]
    rows = {(r["method"], r["metric"]): r for r in results["rows"]}
    yield f"% layoutmark, run {_comment(results['name'])}, protocol {results['protocol']['hash']}"
    yield "% Needs \\usepackage{booktabs}.  Bold: best tie group; underlined: the next (paired differences, Holm)."
    yield r"\begin{table}"
    yield r"\centering\footnotesize\setlength{\tabcolsep}{3pt}"
    yield f"\\begin{{tabular}}{{l{'r' * len(metrics)}}}"
    yield r"\toprule"
    arrows = {True: r"$\uparrow$", False: r"$\downarrow$"}
    heads = " & ".join(f"{_text(m['title'])} {arrows[m['higher_is_better']]}" for m in metrics)
    yield f"Method & {heads} \\\\"
    yield r"\midrule"
    for kind in (False, True):
        listed = [m for m in results["methods"] if (m["kind"] == "reference") is kind]
        if kind and listed:
            yield r"\midrule"
        for method in listed:
            cells = [
                _cell(rows.get((method["name"], m["name"])), _group(results, method, m))
                + DAGGER * (measures_layout(m["name"]) and not controls_layout(method))
                for m in metrics
            ]
            yield f"{_text(method['name'])} & {' & '.join(cells)} \\\\"
            # Intervals stand below their values: beside them six columns would not fit a page.
            spans = [_span(rows.get((method["name"], m["name"]))) for m in metrics]
            if any(spans):
                yield f" & {' & '.join(spans)} \\\\"
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield f"\\caption{{{_caption(results)}}}"
    yield r"\end{table}"


def _group(results: Results, method: Mapping[str, Any], metric: Mapping[str, Any]) -> int | None:
    """Number of the method's tie group on a metric, best 0."""
    groups = results["ties"].get(metric["name"]) or []
    return next((k for k, names in enumerate(groups) if method["name"] in names), None)


def _cell(row: Mapping[str, Any] | None, group: int | None) -> str:
    if row is None or row["value"] is None:
        return "--"
    value = f"{row['value']:.3f}"
    return {0: f"\\textbf{{{value}}}", 1: f"\\underline{{{value}}}"}.get(-1 if group is None else group, value)


def _span(row: Mapping[str, Any] | None) -> str:
    known = row is not None and row["value"] is not None and row["low"] is not None
    return f"{{\\tiny [{row['low']:.3f}, {row['high']:.3f}]}}" if known and row is not None else ""


def _caption(results: Results) -> str:
    suite, stack = results["suite"], results["stack"]
    lost = [
        f"{_text(r['method'])}, {_text(r['metric'])}: {r['n']} of {r['of']} images scored"
        for r in results["rows"] if r["metric"] in HEADLINE and r["n"] != r["of"]
    ]  # fmt: skip
    told = (
        f"{_text(suite['title'])}, {len(results['samples'])} samples, {len(results['seeds'])} seed(s), "
        f"{_text(stack['title'])}. 95\\,\\% intervals in brackets. Dashes: not scored."
    )
    if not all(map(controls_layout, results["methods"])):
        told += r" \dag{}\,Layout not controlled: the method reads none."
    return told + (" " + "; ".join(lost) + "." if lost else "")


def _text(value: Any) -> str:
    return "".join(SPECIAL.get(c, c) for c in UNSEEN.sub("?", str(value)))


def _comment(value: Any) -> str:
    return UNSEEN.sub(" ", str(value))
