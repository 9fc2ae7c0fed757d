"""Results as a LaTeX table for a paper; needs the packages booktabs and graphicx.

A table is never wider than the line: long names wrap over several rows, and a table that is still too wide is scaled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from layoutmark.atomic import write_text
from layoutmark.score import controls_layout, measures_layout

HEADLINE = ("ap50", "miou", "clip_i", "dino", "clip_t", "clip_iqa")
ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip
INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
MAX_LINE_CHARACTERS, MAX_NAME_CHARACTERS = 18, 72
"""Characters of a name in one row of the table, and in all its rows."""
NAME_PART = re.compile(r"[^\s/@_,:;=+-]*[\s/@_,:;=+-]*")
"""Names may be broken after each part."""
DAGGER = r"\,\dag{}"
Results = Mapping[str, Any]
Row = Mapping[str, Any]


def render(results: Results, run: Path, out: Path) -> Path:  # noqa: ARG001
    """Write `table.tex` below `out`; returns it."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "table.tex"
    write_text(path, "\n".join(_render_lines(results)) + "\n")
    return path


def _render_lines(results: Results) -> Iterator[str]:
    metrics = [m for name in HEADLINE for m in results["metrics"] if m["name"] == name]
    yield f"% layoutmark, run {_escape_comment(results['name'])}, protocol {results['protocol']['hash']}"
    yield "% Needs \\usepackage{booktabs,graphicx}."
    yield "% Bold: best tie group; underlined: the next (paired differences, Holm)."
    yield r"\begin{table}"
    yield r"\centering\footnotesize\setlength{\tabcolsep}{3pt}"
    yield r"\sbox0{%"
    yield from _render_tabular(results, metrics)
    yield r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi"
    # Names in the caption have no hyphens to break at; wide gaps are better than text in the margin.
    yield r"\sloppy"
    yield f"\\caption{{{_make_caption(results)}}}"
    yield r"\end{table}"


def _render_tabular(results: Results, metrics: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    arrows = {True: r"$\uparrow$", False: r"$\downarrow$"}
    heads = " & ".join(f"{_escape(m['title'])} {arrows[m['higher_is_better']]}" for m in metrics)
    yield f"\\begin{{tabular}}{{l{'r' * len(metrics)}}}"
    yield r"\toprule"
    yield f"Method & {heads} \\\\"
    yield r"\midrule"
    methods = [m for m in results["methods"] if m["kind"] != "reference"]
    references = [m for m in results["methods"] if m["kind"] == "reference"]
    for method in methods:
        yield from _render_method(results, method, metrics)
    if references:
        yield r"\midrule"
    for reference in references:
        yield from _render_method(results, reference, metrics)
    yield r"\bottomrule"
    yield r"\end{tabular}}"


def _render_method(results: Results, method: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines of one method.  Intervals stand below their values: beside them, six columns would not fit a page."""
    rows = {r["metric"]: r for r in results["rows"] if r["method"] == method["name"]}
    values = [
        _format_value(rows.get(m["name"]), _tie_group(results, method, m))
        + DAGGER * (measures_layout(m["name"]) and not controls_layout(method))
        for m in metrics
    ]
    intervals = [_format_interval(rows.get(m["name"])) for m in metrics]
    lines = [values, intervals] if any(intervals) else [values]
    for name, cells in zip_longest(_wrap_name(method["name"]), lines):
        yield f"{_escape(name or '')} & {' & '.join(cells or [''] * len(metrics))} \\\\"


def _tie_group(results: Results, method: Mapping[str, Any], metric: Mapping[str, Any]) -> int | None:
    """Index of the method's tie group on a metric, 0 for the best."""
    groups = results["ties"].get(metric["name"]) or []
    return next((k for k, names in enumerate(groups) if method["name"] in names), None)


def _format_value(row: Row | None, group: int | None) -> str:
    if row is None or row["value"] is None:
        return "--"
    value = _format_number(row["value"])
    return {0: f"\\textbf{{{value}}}", 1: f"\\underline{{{value}}}"}.get(-1 if group is None else group, value)


def _format_interval(row: Row | None) -> str:
    if row is None or row["value"] is None or row["low"] is None:
        return ""
    return f"{{\\tiny [{_format_number(row['low'])}, {_format_number(row['high'])}]}}"


def _make_caption(results: Results) -> str:
    suite, stack = results["suite"], results["stack"]
    titles = {m["name"]: m["title"] for m in results["metrics"]}
    lost = [
        f"{_escape_prose(r['method'])}, {_escape(titles.get(r['metric'], r['metric']))}: "
        f"{r['n']} of {r['of']} images scored"
        + (f" ({_format_number(r['worst'])} if lost = worst)" if r.get("worst") not in (None, r["value"]) else "")
        for r in results["rows"] if r["metric"] in HEADLINE and r["n"] != r["of"]
    ]  # fmt: skip
    caption = (
        f"{_escape_prose(suite['title'])}, {len(results['samples'])} samples, {len(results['seeds'])} seed(s), "
        f"{_escape_prose(stack['title'])}. 95\\,\\% intervals in brackets. Dashes: not scored."
    )
    if not all(map(controls_layout, results["methods"])):
        caption += r" \dag{}\,Layout not controlled: the method reads none."
    return caption + (" " + "; ".join(lost) + "." if lost else "")


def _escape(value: Any) -> str:
    return "".join(ESCAPES.get(c, c) for c in INVISIBLE.sub("?", str(value)))


def _escape_prose(value: Any) -> str:
    """Escaped text of a paragraph; long words may break where `_wrap_name` breaks names."""
    return " ".join(
        r"\allowbreak{}".join(map(_escape, _wrap_name(word))) if len(word) > MAX_LINE_CHARACTERS else _escape(word)
        for word in _shorten(value).split(" ")
    )


def _escape_comment(value: Any) -> str:
    return INVISIBLE.sub(" ", str(value))


def _format_number(value: float) -> str:
    return f"{value:.3f}".replace("-", "$-$")


def _wrap_name(name: Any) -> list[str]:
    """Lines of at most `MAX_LINE_CHARACTERS`, broken after punctuation where possible; a very long name is cut."""
    lines = [""]
    for part in NAME_PART.findall(_shorten(name)):
        for start in range(0, len(part), MAX_LINE_CHARACTERS):
            piece = part[start : start + MAX_LINE_CHARACTERS]
            if len(lines[-1]) + len(piece.rstrip()) > MAX_LINE_CHARACTERS:
                lines.append("")
            lines[-1] += piece
    return [line.strip() for line in lines if line.strip()]


def _shorten(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MAX_NAME_CHARACTERS else f"{text[: MAX_NAME_CHARACTERS - 3]}..."
