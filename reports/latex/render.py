"""Results as a LaTeX table for a paper; needs the packages booktabs and graphicx.

A table is never wider than the line: long names go on over several rows, and what is still too wide is made smaller.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from layoutmark.score import controls_layout, measures_layout

HEADLINE = ("ap50", "miou", "clip_i", "dino", "clip_t", "clip_iqa")
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
WIDTH, LONGEST = 18, 72
"""Characters of a name in one row of the table, and in all its rows."""
WORD = re.compile(r"[^\s/@_,:;=+-]*[\s/@_,:;=+-]*")
"""What a name may be broken behind."""
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
    yield "% Needs \\usepackage{booktabs,graphicx}."
    yield "% Bold: best tie group; underlined: the next (paired differences, Holm)."
    yield r"\begin{table}"
    yield r"\centering\footnotesize\setlength{\tabcolsep}{3pt}"
    yield r"\sbox0{%"
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
            # Intervals stand below their values: beside them six columns would not fit a page.
            spans = [_span(rows.get((method["name"], m["name"]))) for m in metrics]
            below, nothing = ([spans] if any(spans) else []), [""] * len(metrics)
            for name, row in zip_longest(_broken(method["name"]), [cells, *below]):
                yield f"{_text(name or '')} & {' & '.join(row or nothing)} \\\\"
    yield r"\bottomrule"
    yield r"\end{tabular}}"
    yield r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi"
    # Names in the caption have no hyphens to break at; wide gaps are better than letters in the margin.
    yield r"\sloppy"
    yield f"\\caption{{{_caption(results)}}}"
    yield r"\end{table}"


def _group(results: Results, method: Mapping[str, Any], metric: Mapping[str, Any]) -> int | None:
    """Number of the method's tie group on a metric, best 0."""
    groups = results["ties"].get(metric["name"]) or []
    return next((k for k, names in enumerate(groups) if method["name"] in names), None)


def _cell(row: Mapping[str, Any] | None, group: int | None) -> str:
    if row is None or row["value"] is None:
        return "--"
    value = _number(row["value"])
    return {0: f"\\textbf{{{value}}}", 1: f"\\underline{{{value}}}"}.get(-1 if group is None else group, value)


def _span(row: Mapping[str, Any] | None) -> str:
    known = row is not None and row["value"] is not None and row["low"] is not None
    return f"{{\\tiny [{_number(row['low'])}, {_number(row['high'])}]}}" if known and row is not None else ""


def _caption(results: Results) -> str:
    suite, stack = results["suite"], results["stack"]
    titles = {m["name"]: m["title"] for m in results["metrics"]}
    lost = [
        f"{_loose(r['method'])}, {_text(titles.get(r['metric'], r['metric']))}: {r['n']} of {r['of']} images scored"
        + (f" ({_number(r['worst'])} if lost = worst)" if r.get("worst") not in (None, r["value"]) else "")
        for r in results["rows"] if r["metric"] in HEADLINE and r["n"] != r["of"]
    ]  # fmt: skip
    told = (
        f"{_loose(suite['title'])}, {len(results['samples'])} samples, {len(results['seeds'])} seed(s), "
        f"{_loose(stack['title'])}. 95\\,\\% intervals in brackets. Dashes: not scored."
    )
    if not all(map(controls_layout, results["methods"])):
        told += r" \dag{}\,Layout not controlled: the method reads none."
    return told + (" " + "; ".join(lost) + "." if lost else "")


def _text(value: Any) -> str:
    return "".join(SPECIAL.get(c, c) for c in UNSEEN.sub("?", str(value)))


def _number(value: float) -> str:
    return f"{value:.3f}".replace("-", "$-$")


def _broken(name: Any) -> list[str]:
    """A name as lines of at most `WIDTH` characters, broken behind a sign where it has one; a very long one is cut."""
    lines = [""]
    for word in WORD.findall(_short(name)):
        for piece in (word[k : k + WIDTH] for k in range(0, len(word), WIDTH)):
            if len(lines[-1]) + len(piece.rstrip()) > WIDTH:
                lines.append("")
            lines[-1] += piece
    return [line.strip() for line in lines if line.strip()]


def _loose(value: Any) -> str:
    """Text of a paragraph, in which long words may be broken as `_broken` breaks names."""
    words = _short(value).split(" ")
    return " ".join(r"\allowbreak{}".join(map(_text, _broken(w))) if len(w) > WIDTH else _text(w) for w in words)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _comment(value: Any) -> str:
    return UNSEEN.sub(" ", str(value))
