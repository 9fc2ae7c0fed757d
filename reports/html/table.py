"""The table: one row a method, one column a metric, reference rows set apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layoutmark.score import controls_layout, measures_layout

from .results import Cell, Metric, Results
from .text import count, esc, interval, name, number, reasons

LETTERS = "abcdefghijklmnopqrstuvwxyz"
"""Of tie groups, the best first."""


def table(results: Results, metrics: Sequence[Metric], caption: str) -> str:
    """An HTML table of `metrics`.  A cell without a number says "not scored" and why."""
    heads = "".join(_head(m) for m in metrics)
    rows = [_row(results, m, metrics, "") for m in results.methods]
    if results.references:
        rows.append(
            f'<tr class="divider"><th scope="rowgroup" colspan="{len(metrics) + 1}">'
            "<span>Reference rows</span></th></tr>"
        )
        rows += [_row(results, m, metrics, ' class="reference"') for m in results.references]
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{esc(caption)}"><table class="scores">'
        f'<caption class="hidden">{esc(caption)}</caption>'
        f'<thead><tr><th scope="col">Method</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def turned(results: Results, metrics: Sequence[Metric], caption: str) -> str:
    """The same with one row a metric and one column a method: for more metrics than stand side by side."""
    methods = [*results.methods, *results.references]
    heads = "".join(
        f'<th scope="col"{_reference(m)}>{name(m["name"])}</th>' for m in methods
    )  # fmt: skip
    rows = "".join(
        f"<tr>{_head(m, 'row')}{''.join(_scored(results, method, m) for method in methods)}</tr>" for m in metrics
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{esc(caption)}"><table class="scores turned">'
        f'<caption class="hidden">{esc(caption)}</caption>'
        f'<thead><tr><th scope="col">Score</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def variants(metrics: Sequence[Metric]) -> str:
    """A list of the full names behind the column heads."""
    return '<dl class="pairs">' + "".join(
        f"<dt>{name(m.title)}</dt><dd><code>{esc(m.variant)}</code><br>"
        f'<span class="quiet">{esc(m.unit)}, {"higher" if m.higher else "lower"} is better</span></dd>'
        for m in metrics
    ) + "</dl>"  # fmt: skip


def gaps(results: Results, metrics: Sequence[Metric]) -> str:
    """A list of why numbers rest on fewer images than were asked for; empty when none does."""
    items = ""
    for method in results.names:
        for metric in metrics:
            cell = results.cell(method, metric.name)
            if cell is not None and cell.n != cell.of:
                why = reasons(cell.unscored) or "no reason given"
                scored = f"{count(cell.n)} of {count(cell.of)} scored"
                counted = f" {number(cell.worst)} if lost images count as the worst." if cell.worst is not None else ""
                items += f"<li>{name(method)}, {name(metric.title)}: {scored}. {why}.{counted}</li>"
    return f"<ul>{items}</ul>" if items else ""


def _reference(method: Mapping[str, Any]) -> str:
    return ' class="reference"' if method.get("kind") == "reference" else ""


def _head(metric: Metric, scope: str = "col") -> str:
    arrow, words = ("\u2191", "higher is better") if metric.higher else ("\u2193", "lower is better")
    return (
        f'<th scope="{scope}" title="{esc(metric.variant)}">{name(metric.title)}'
        f'<span class="arrow" aria-hidden="true">{arrow}</span><span class="hidden">, {words}</span>'
        f'<small>{esc(metric.unit)}</small></th>'
    )  # fmt: skip


def _row(results: Results, method: Mapping[str, Any], metrics: Sequence[Metric], attributes: str) -> str:
    who = str(method["name"])
    title = str(method.get("title") or "")
    gloss = f"<small>{name(title)}</small>" if title and title != who else ""
    cells = "".join(_scored(results, method, m) for m in metrics)
    return f'<tr{attributes}><th scope="row">{name(who)}{gloss}</th>{cells}</tr>'


def _scored(results: Results, method: Mapping[str, Any], metric: Metric) -> str:
    who = str(method["name"])
    free = measures_layout(metric.name) and not controls_layout(method)
    return _cell(results.cell(who, metric.name), results.group(who, metric.name), free)


def _cell(cell: Cell | None, group: int | None, free: bool) -> str:
    """`group` is the place of the method's tie group, best 0."""
    if cell is None:
        return '<td class="unscored">not scored<small>not measured in this run</small></td>'
    worst = f'<small class="worst">{number(cell.worst)} if lost = worst</small>' if cell.worst is not None else ""
    if cell.value is None:
        why = reasons(cell.unscored) or "no reason given"
        return f'<td class="unscored">not scored<small>{why}</small>{worst}</td>'
    best = group == 0
    mark = '<span class="best" title="in the best group"><span class="hidden">best group </span></span>' if best else ""
    tied = "" if group is None else f'<sup><span class="hidden"> tie group </span>{LETTERS[group % 26]}</sup>'
    span = interval(cell.low, cell.high) or "no interval"
    few = "" if cell.n == cell.of else f'<small class="few">{count(cell.n)} of {count(cell.of)}</small>'
    few += worst + (f'<small class="few">{esc(cell.caution)}</small>' if cell.caution else "")
    few += '<small class="free">not controlled</small>' if free else ""
    klass = ' class="top"' if best else ""
    return f'<td{klass}><span class="value">{mark}{number(cell.value)}{tied}</span><small>{span}</small>{few}</td>'
