"""What papers state beside what was measured here, and whether the two may be compared at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .results import Cell, Results
from .text import esc, finite, interval, name, number

HEADS = ("method", "figure", "stated", "measured here", "difference", "what differs", "verdict", "source")


def published(results: Results) -> str:
    """An HTML table, one row a stated figure; a sentence where no method of these results states one."""
    title = "<h3>Beside published figures</h3>"
    rows = "".join(_row(results, m, p) for m in results.methods for p in m.get("published") or ())
    if not rows:
        return title + "<p>No method compared here states a figure that its card repeats.</p>"
    heads = "".join(f'<th scope="col" class="words">{h}</th>' for h in HEADS)
    return (
        f'{title}<div class="scroll" tabindex="0" role="region" aria-label="Published figures">'
        f'<table class="bins-table told-table"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
        '<p class="key">A difference is taken only where suite, stack and scorer are the same as the source\'s.</p>'
    )


def _row(results: Results, method: Mapping[str, Any], stated: Mapping[str, Any]) -> str:
    metric = results.metrics.get(str(stated["metric"]))
    title = name(metric.title) if metric else esc(stated["metric"])
    cell = results.cell(str(method["name"]), str(stated["metric"]))
    claim = finite(stated["value"])
    differs = _differs(results, stated)
    if cell is None or cell.value is None or claim is None:
        ours, difference, verdict = "not scored", "not taken", "not measured"
    else:
        ours = f"{number(cell.value)} {interval(cell.low, cell.high)}"
        difference = "not taken" if differs else number(cell.value - claim, sign=True)
        verdict = "not comparable" if differs else _verdict(cell, claim)
    note = f" {esc(stated['note'])}" if stated.get("note") else ""
    cells = [
        title,
        number(claim) if claim is not None else "",
        ours,
        difference,
        "; ".join(differs) or "nothing",
        verdict,
    ]
    body = "".join(f'<td class="words">{c}</td>' for c in cells)
    return (
        f'<tr><th scope="row">{name(method["name"])}</th>{body}'
        f'<td class="words">{esc(stated["source"])}.<span class="quiet">{note}</span></td></tr>'
    )


def _differs(results: Results, stated: Mapping[str, Any]) -> list[str]:
    """What is not as in the source, each as ``suite: theirs, here ours``."""
    suite, stack = str(results.data["suite"]["name"]), str(results.data["stack"]["name"])
    found = []
    if stated["suite"] != suite:
        found.append(f"suite: {esc(stated['suite'])}, here {esc(suite)}")
    if stated["stack"] != stack:
        found.append(f"stack: {esc(stated['stack'])}, here {esc(stack)}")
    scorers = [str(s) for s in (results.data["stack"].get("scorers") or {}).values()]
    if str(stated["scorer"]) not in scorers:
        found.append(f"scorer: {esc(stated['scorer'])}")
    return found


def _verdict(cell: Cell, claim: float) -> str:
    if cell.low is None or cell.high is None or cell.value is None:
        return "no interval"
    if cell.low <= claim <= cell.high:
        return "agrees: the stated figure lies in the interval"
    return "ours is lower" if cell.high < claim else "ours is higher"
