"""The parts of the page around table and grid: what was compared, what became of the images, footnotes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from layoutmark.score import controls_layout

from .results import STATUSES, Results
from .text import clean, count, esc, name, plural, reasons, sentence
from .verdict import cautions, verdicts

SHOWN = 4
"""Verdicts that stand open; more are folded."""
WORDS = {
    "ok": "ok",
    "degenerate": "degenerate",
    "filtered": "filtered",
    "not_applicable": "not applicable",
    "failed": "failed",
    "missing": "missing",
}
READING = (
    "Brackets hold 95 % intervals. Images that share a prompt are one cluster, seeds included.",
    "A verdict compares two methods on the same samples and seeds. A difference counts when its interval leaves out "
    "zero and its p value, adjusted by Holm's method over all pairs and metrics, is below 0.05.",
    "The dot marks the best tie group of a column: methods that cannot be told apart from the best one. Letters name "
    "the groups, best first.",
    "What could not be scored has a reason and no number. It is never counted as 0.",
    "The ceiling row scores the true images, floor rows score images that ignore the layout. They bound what a number "
    "can mean.",
    "Solid boxes are detections, dashed boxes are targets. A detection takes the colour of the target of its category "
    "that it overlaps most, white if there is none; the scores match them by their own rules.",
    "Rings in a plot of two metrics mark the Pareto front: no other method equals or beats these on both. The front "
    "takes the values as they are; whiskers show how far they can be trusted.",
    "Whiskers in the plots by stratum are 1.96 standard errors over samples; hatched bars stand for fewer than 10 "
    "samples.",
)


def header(results: Results, without_picture: int) -> str:
    """Title, facts, verdict sentences and what a reader must be told first."""
    data, suite, stack = results.data, results.data["suite"], results.data["stack"]
    seeds = data.get("seeds") or []
    facts = [
        ("Suite", _titled(suite)),
        ("Samples", count(suite.get("samples", len(results.samples)))),
        ("Seeds", esc(_series(seeds))),
        ("Stack", _titled(stack)),
        ("Protocol", f"<code>{esc(data['protocol'].get('hash', ''))}</code>"),
    ]
    who = sentence([name(m["name"]) for m in results.methods]) or "reference rows only"
    items = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in facts)
    return (
        f'<h1 dir="auto">{esc(data["name"])}</h1><p class="lede">Compared: {who}.</p>'
        f'<dl class="facts">{items}</dl>{_verdicts(results)}{_told(results, without_picture)}'
    )


def images_table(results: Results) -> str:
    """What became of every requested image, by method, with reasons."""
    rows = ""
    for method in (*results.methods, *results.references):
        counts = method.get("counts", {})
        cells = "".join(
            f'<td class="{"zero" if not counts.get(k) else "bad" if k not in ("requested", "ok") else ""}">'
            f"{count(counts.get(k, 0))}</td>"
            for k in ("requested", *STATUSES)
        )
        why = reasons(method.get("reasons") or {})
        klass = ' class="reference"' if method.get("kind") == "reference" else ""
        rows += f'<tr{klass}><th scope="row">{name(method["name"])}</th>{cells}<td class="words">{why}</td></tr>'
    heads = "".join(f'<th scope="col">{h}</th>' for h in ("requested", *(WORDS[s] for s in STATUSES)))
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Images requested"><table class="counts">'
        f'<thead><tr><th scope="col">Method</th>{heads}<th scope="col" class="words">reasons</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def footnotes(results: Results) -> str:
    """Deviations, settings, makers of the numbers, and how intervals are made."""
    data = results.data
    deviations = "".join(_deviations(m) for m in results.methods)
    return (
        '<section id="notes" aria-labelledby="notes-title"><h2 id="notes-title">Notes</h2>'
        "<h3>Deviations from the published methods</h3>"
        f"{deviations or '<p>None declared.</p>'}"
        "<h3>How to read the numbers</h3>" + _reading(results) + "<h3>Methods</h3>"
        + "".join(_maker(m) for m in (*results.methods, *results.references)) + _devices(results)
        + "<h3>Suite and models</h3>" + _pairs(_world(results))
        + "<h3>Environment</h3>" + _pairs(dict(data.get("environment", {}).get("versions", {})))
        + "<details><summary>Protocol</summary>" + _code(data["protocol"].get("parts", {})) + "</details></section>"
    )  # fmt: skip


def _devices(results: Results) -> str:
    """What drew the pictures of each method; where it was more than one thing, that pixels may differ by rounding."""
    drawn_on = (results.data.get("times") or {}).get("drawn_on") or {}
    lines = {
        method: "; ".join(f"{device}: {plural(number, 'image')}" for device, number in devices.items())
        + (" (pixels of different devices may differ by rounding)" if len(devices) > 1 else "")
        for method, devices in drawn_on.items()
    }
    return f"<h3>Drawn on</h3>{_pairs(lines)}" if lines else ""


def _titled(part: Mapping[str, Any]) -> str:
    title, version = part.get("title") or part["name"], part.get("version", "")
    return f"{name(title)} <code>{esc(part['name'])}</code> {esc(version)}"


def _verdicts(results: Results) -> str:
    found = verdicts(results)
    if not found:
        return '<p class="quiet">No pair of methods was compared.</p>'
    items = [f"<li>{s}</li>" for s in found]
    more = plural(len(items) - SHOWN, "more pair")
    rest = f"<details><summary>{more}</summary><ul>{''.join(items[SHOWN:])}</ul></details>"
    return (
        f'<div class="verdicts"><h2 class="hidden">Verdicts</h2><ul>{"".join(items[:SHOWN])}</ul>'
        f"{rest if len(items) > SHOWN else ''}</div>"
    )


def _told(results: Results, without_picture: int) -> str:
    counts = results.counts()
    bad = [f"{count(counts[s])} {WORDS[s]}" for s in STATUSES if s != "ok" and counts[s]]
    states = f"{plural(counts['requested'], 'image')} requested, {count(counts['ok'])} ok"
    lines = [
        *(esc(n) for n in results.data["suite"].get("notes") or ()),
        states + (f", {', '.join(bad)}." if bad else "."),
        *(f"Left out: {name(m)} ({esc(why)})." for m, why in (results.data.get("left_out") or {}).items()),
        *cautions(results),
    ]
    if free := sentence([name(m["name"]) for m in results.methods if not controls_layout(m)]):
        lines.append(f"Layout not controlled by {free}: no box, mask, point or scribble is read.")
    if without_picture:
        lines.append(f"{plural(without_picture, 'picture file')} could not be read; a placeholder stands for each.")
    return f'<ul class="told">{"".join(f"<li>{line}</li>" for line in lines)}</ul>'


def _reading(results: Results) -> str:
    metrics = _pairs({m.title: m.variant for m in results.metrics.values()})
    return (
        f"<ul>{''.join(f'<li>{line}</li>' for line in READING)}</ul>"
        f"<details><summary>All {plural(len(results.metrics), 'metric')}</summary>{metrics}</details>"
    )


def _deviations(method: Mapping[str, Any]) -> str:
    items = "".join(
        f'<li>{esc(d.get("what", ""))}. <span class="quiet">{esc(d.get("why", ""))}</span></li>'
        for d in method.get("deviations") or ()
    )
    return f"<h4>{name(method['name'])}</h4><ul>{items}</ul>" if items else ""


def _maker(method: Mapping[str, Any]) -> str:
    facts: dict[str, object] = {
        "version": method.get("version", ""),
        "preset": method.get("preset") or "none",
        "inputs": ", ".join(map(str, method.get("inputs") or ())) or "none",
        "code": method.get("code") or "none",
        "weights": method.get("weights") or "none of its own",
    }
    settings = method.get("settings") or {}
    return (
        f"<details><summary>{name(method['name'])}</summary>{_pairs(facts)}"
        f"{_code(settings) if settings else '<p>No settings.</p>'}</details>"
    )


def _world(results: Results) -> dict[str, object]:
    suite, stack = results.data["suite"], results.data["stack"]
    return {
        "suite": f"{suite['name']} {suite.get('version', '')}",
        "suite digest": suite.get("digest", ""),
        "licence": suite.get("licence", ""),
        "stack": f"{stack['name']} {stack.get('version', '')}",
        "stack digest": stack.get("digest", ""),
        **{f"scorer, {k}": v for k, v in (stack.get("scorers") or {}).items()},
    }


def _pairs(facts: Mapping[str, object]) -> str:
    return '<dl class="pairs">' + "".join(
        f"<dt>{name(k)}</dt><dd><code>{esc(_plain(v))}</code></dd>" for k, v in facts.items()
    ) + "</dl>"  # fmt: skip


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _code(data: object) -> str:
    return f"<pre>{esc(json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, default=str))}</pre>"


def _series(values: list[Any]) -> str:
    shown = ", ".join(clean(v) for v in values[:8])
    return f"{shown} and {len(values) - 8} more" if len(values) > 8 else shown or "none"
