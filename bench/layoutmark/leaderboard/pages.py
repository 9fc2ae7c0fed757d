"""A board as JSON, as Markdown for a repository's front page, and as one HTML page."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any

from layoutmark.leaderboard import history
from layoutmark.leaderboard.entry import AUTHORS, MATCHED, REFERENCE
from layoutmark.score import controls_layout, measures_layout

TITLES = {AUTHORS: "Authors' settings", MATCHED: "Matched settings"}
_HISTORY = (
    "Superseded entries stay. A value changed where the paired interval of new - old, on the images both have, leaves "
    "out zero (Holm over the metrics)."
)
# A name is untrusted text: it may not end a cell, start a tag, or turn the line around.
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
Table = Mapping[str, Any]


def as_json(table: Table) -> str:
    """board.json."""
    return json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def as_markdown(table: Table) -> str:
    """README.md."""
    lines = [f"# {_plain(table['board'])}", "", *_told(table), ""]
    for track, part in table["tracks"].items():
        heads, rows = _cells(table, part)
        lines += [f"## {TITLES[track]}", "", *[line for told in _shared(table, track) for line in (_escaped(told), "")]]
        lines += [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        lines += [f"| {' | '.join(_escaped(c) for c in cells)} |" for cells, _ in rows]
        lines += ["", *[f"- {_escaped(n)}" for n in _notes(part)], ""]
    if table["history"]:
        lines += ["## History", "", _HISTORY, ""]
    for line in table["history"]:
        heads = [_escaped(_plain(h)) for h in history.heads(table)]
        lines += [f"### {_escaped(_named(line))}", "", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        lines += [f"| {' | '.join(_escaped(_plain(c)) for c in cells)} |" for cells in history.rows(table, line)]
        lines += [""]
    return "\n".join(lines).rstrip() + "\n"


def as_html(table: Table) -> str:
    """index.html: one page, no scripts, nothing fetched."""
    parts = [f"<h1>{_tag(table['board'])}</h1>", *[f"<p>{_tag(line)}</p>" for line in _told(table) if line]]
    for track, part in table["tracks"].items():
        heads, rows = _cells(table, part)
        head = "".join(f'<th scope="col">{_tag(h)}</th>' for h in heads)
        body = "".join(
            f'<tr class="{REFERENCE if reference else ""}"><th scope="row">{_name(cells[0])}</th>'
            + "".join(f"<td>{_strong(c)}</td>" for c in cells[1:])
            + "</tr>\n"
            for cells, reference in rows
        )
        notes = "".join(f"<li>{_name(n)}</li>" for n in _notes(part))
        shared = "".join(f"<p>{_name(told)}</p>\n" for told in _shared(table, track))
        parts.append(
            f"<h2>{TITLES[track]}</h2>\n{shared}"
            f'<div class="scroll" tabindex="0" role="region" aria-label="{TITLES[track]}">'
            f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n<ul>{notes}</ul>"
        )
    if table["history"]:
        parts.append(f"<h2>History</h2>\n<p>{_HISTORY}</p>")
        parts += [_line(table, line) for line in table["history"]]
    return PAGE.format(title=_tag(table["board"]), body="\n".join(parts))


def _told(table: Table) -> list[str]:
    parts = table["protocol"].get("parts")
    if not parts:
        return ["No entries yet."]
    suite, stack = parts["suite"], parts["stack"]
    limit = "" if suite["limit"] is None else f", first {suite['limit']} samples"
    return [
        f"Suite {_plain(suite['name'])} {_plain(suite['version'])}{limit}, stack {_plain(stack['name'])}, seeds "
        f"{', '.join(map(str, parts['seeds']))}, protocol {table['protocol']['hash']}.",
        "",
        "Computed from the entries beside this page by `layoutmark leaderboard build`. 95 % intervals over prompts; "
        "bold: the best tie group (paired differences, Holm). Reference rows bound the table and are not ranked.",
    ]  # fmt: skip


def _shared(table: Table, track: str) -> list[str]:
    """What all methods of the matched track have in common."""
    if track != MATCHED:
        return []
    given = (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in sorted(table["matched"].items()))
    return [_plain(f"Settings of every method here: {', '.join(given)}. Ties are among the methods of this track.")]


def _cells(table: Table, part: Table) -> tuple[list[str], list[tuple[list[str], bool]]]:
    """Heads, and per row its cells and whether it is a reference row; methods by their place on the first metric."""
    metrics = table["metrics"]
    rows = {(r["method"], r["metric"]): r for r in part["rows"]}
    heads = ["method", *(f"{_plain(m['title'])} {'↑' if m['higher_is_better'] else '↓'}" for m in metrics), "s / image"]
    order = [name for group in part["ties"].get(metrics[0]["name"], []) for name in group]
    ranked = sorted(
        part["methods"],
        key=lambda m: (m["track"] == REFERENCE, order.index(m["name"]) if m["name"] in order else len(order)),
    )
    found = []
    for method in ranked:
        cells = [_plain(method["name"])]
        for metric in metrics:
            best = method["name"] in (part["ties"].get(metric["name"]) or [[]])[0]
            free = measures_layout(metric["name"]) and not controls_layout(method)
            cells.append(_cell(rows[method["name"], metric["name"]], best) + ", not controlled" * free)
        seconds = method["seconds_per_image"]
        found.append(([*cells, "" if seconds is None else f"{seconds:.2f}"], method["track"] == REFERENCE))
    return heads, found


def _cell(row: Table, best: bool) -> str:
    if row["value"] is None:
        why = ", ".join(f"{n} {_plain(reason)}" for reason, n in sorted(row["unscored"].items()))
        return f"not scored: {why or 'no reason given'}"
    value = f"**{row['value']:.3f}**" if best else f"{row['value']:.3f}"
    span = "" if row["low"] is None else f" [{row['low']:.3f}, {row['high']:.3f}]"
    return value + span + ("" if row["n"] == row["of"] else f" {row['n']} of {row['of']}")


def _notes(part: Table) -> list[str]:
    """Footnotes: who reads no layout, what drew the pictures, deviations from papers, settings changed by hand."""
    found = []
    if free := [_plain(m["name"]) for m in part["methods"] if not controls_layout(m)]:
        found.append(
            f"not controlled: {', '.join(free)} read no layout, so layout scores say what chance and the prompt give"
        )
    found += [f"drawn on {device}: {', '.join(names)}" for device, names in sorted(_devices(part).items())]
    for method in part["methods"]:
        ids = ", ".join(_plain(d["id"]) for d in method["deviations"])
        if ids:
            found.append(f"{_plain(method['name'])} deviates from its paper: {ids}")
        if method["overrides"]:
            given = ", ".join(f"{_plain(k)} = {_plain(v)}" for k, v in sorted(method["overrides"].items()))
            found.append(f"{_plain(method['name'])}: {given} ({_plain(method['because'])})")
    return found


def _devices(part: Table) -> dict[str, list[str]]:
    """Names of methods by what drew their pictures; an entry need not tell."""
    found: dict[str, list[str]] = {}
    for method in part["methods"]:
        for device in method["drawn_on"]:
            found.setdefault(_plain(device), []).append(_plain(method["name"]))
    return found


def _line(table: Table, line: Table) -> str:
    """The history of one method: a drawing a metric above the values."""
    heads = "".join(f'<th scope="col">{_tag(h)}</th>' for h in history.heads(table))
    drawn = "".join(f"<td>{history.drawing(line, m)}</td>" for m in table["metrics"])
    body = "".join(
        f'<tr><th scope="row">{_tag(cells[0])}</th>{"".join(f"<td>{_strong(c)}</td>" for c in cells[1:])}</tr>\n'
        for cells in history.rows(table, line)
    )
    return (
        f"<h3>{_name(_named(line))}</h3>\n"
        f'<div class="scroll" tabindex="0" role="region" aria-label="History of {_tag(_named(line))}"><table>'
        f'<thead><tr>{heads}</tr></thead>\n<tbody><tr><th scope="row">course</th><td></td>{drawn}</tr>\n{body}</tbody>'
        "</table></div>"
    )


def _named(line: Table) -> str:
    return f"{_plain(line['name'])} ({str(TITLES.get(line['track'], line['track'])).lower()})"


def _plain(text: Any) -> str:
    return UNSEEN.sub("\ufffd", str(text))


def _escaped(text: str) -> str:
    """Markdown that shows the text; the bold marks of cells stay."""
    return re.sub(r"([\\`|<>\[\]_#])", r"\\\1", text)


def _tag(text: Any) -> str:
    return html.escape(_plain(text).replace("`", ""))


def _name(text: Any) -> str:
    """A name that may go on in the next line after ``_`` and before ``@``."""
    return re.sub("(?<=_)(?=[^_@])|(?<=[^@])(?=@)", "<wbr>", _tag(text))


def _strong(text: str) -> str:
    """A cell with its mark of bold, and intervals that stay on one line."""
    bold = re.sub(r"^\*\*(.*?)\*\*", r"<strong>\1</strong>", _tag(text))
    return re.sub(r"(\[[^\[\]]*\])", r"<span>\1</span>", bold)


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .35rem .8rem .35rem 0; text-align: left; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }}
tr.reference {{ opacity: .75; font-style: italic; }}
tbody th {{ font-weight: normal; }}
td span {{ white-space: nowrap; }}
</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""  # noqa: E501
