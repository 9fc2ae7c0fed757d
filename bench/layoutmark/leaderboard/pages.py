"""A board as JSON, as Markdown for a repository's front page, and as one HTML page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layoutmark.html_templates import make_environment
from layoutmark.leaderboard.history import HEIGHT_PIXELS, WIDTH_PIXELS, ScoreText
from layoutmark.leaderboard.page_data import HistoryPage, TrackPage, make_page

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = Path(__file__).with_name("templates")
NO_ENTRIES = "No entries yet."
LEGEND = (
    "95 % intervals over prompts; bold: the best tie group (paired differences, Holm). "
    "Reference rows bound the table and are not ranked."
)
HISTORY = (
    "Superseded entries remain. A value is marked as changed if the paired interval of new minus old, on the images "
    "that both have, excludes zero (Holm over the metrics)."
)
MARKDOWN_SPECIAL = re.compile(r"([\\`|<>\[\]_#])")
Table = Mapping[str, Any]


def render_json(table: Table) -> str:
    """Content of board.json."""
    return json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def render_html(table: Table) -> str:
    """Content of index.html: one page without scripts that loads nothing."""
    return _template().render(
        page=make_page(table), no_entries=NO_ENTRIES, legend=LEGEND, history=HISTORY, width=WIDTH_PIXELS,
        height=HEIGHT_PIXELS,
    )  # fmt: skip


@cache
def _template() -> Template:
    return make_environment(TEMPLATES).get_template("board.html")


def render_markdown(table: Table) -> str:
    """Content of README.md."""
    page = make_page(table)
    lines = [f"# {page.board}", ""]
    if page.protocol:
        source = "Computed from the entries beside this page by `layoutmark leaderboard build`."
        lines += [page.protocol, "", f"{source} {LEGEND}", ""]
    else:
        lines += [NO_ENTRIES, ""]
    for track in page.tracks:
        lines += _render_track(track)
    if page.histories:
        lines += ["## History", "", HISTORY, ""]
    for history in page.histories:
        lines += _render_history(history, page.metric_titles)
    return "\n".join(lines).rstrip() + "\n"


def _render_track(track: TrackPage) -> Iterator[str]:
    yield from (f"## {track.title}", "")
    if track.settings:
        yield from (_escape(track.settings), "")
    yield from _render_table(
        ["method", *track.metric_heads, "s / image"],
        ([_escape(row.name), *map(_render_score, row.cells), row.seconds] for row in track.rows),
    )
    yield from (f"- {_escape(note)}" for note in track.notes)
    yield ""


def _render_history(history: HistoryPage, metric_titles: list[str]) -> Iterator[str]:
    yield from (f"### {_escape(history.title)}", "")
    yield from _render_table(
        ["entry", "version", *map(_escape, metric_titles)],
        ([_escape(row.entry), _escape(row.version), *map(_render_score, row.cells)] for row in history.rows),
    )


def _render_table(heads: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def _render_score(score: ScoreText) -> str:
    value = f"**{_escape(score.value)}**" if score.is_best else _escape(score.value)
    return value + (f" {_escape(score.interval)}" if score.interval else "") + _escape(score.suffix)


def _escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    return MARKDOWN_SPECIAL.sub(r"\\\1", text)
