"""The head of the page: what was compared, the verdicts, and what to know before reading the scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from layoutmark.html_templates import escape_text
from layoutmark.plurals import counted
from layoutmark.score import controls_layout

from .results import STATUSES, Results
from .text import format_count, join_words, name_html
from .verdicts import Uncompared, Verdict, list_cautions, list_verdicts

MAX_OPEN_VERDICTS = 4
"""Further verdicts are folded."""
MAX_LISTED_SEEDS = 8


class Header(NamedTuple):
    """Content of the head of the page."""

    methods: Markup
    sample_count: object
    seeds: str
    verdicts: list[Verdict | Uncompared]
    notes: list[Markup]
    max_open: int = MAX_OPEN_VERDICTS


def make_header(results: Results, unreadable_images: int) -> Header:
    """The head for these results, of which `unreadable_images` files could not be read."""
    return Header(
        methods=join_words(name_html(m["name"]) for m in results.methods) or Markup("reference rows only"),
        sample_count=results.data["suite"].get("samples", len(results.samples)),
        seeds=_format_seeds(results.data.get("seeds") or []),
        verdicts=list_verdicts(results),
        notes=_list_notes(results, unreadable_images),
    )


def _list_notes(results: Results, unreadable_images: int) -> list[Markup]:
    left_out = results.data.get("left_out") or {}
    notes = [
        *map(escape_text, results.data["suite"].get("notes") or ()),
        escape_text(_describe_statuses(results)),
        *(Markup("Left out: {} ({}).").format(name_html(m), escape_text(reason)) for m, reason in left_out.items()),
        *list_cautions(results),
    ]
    if uncontrolled := join_words(name_html(m["name"]) for m in results.methods if not controls_layout(m)):
        notes.append(
            Markup("Layout not controlled by {}: no boxes, masks, points or scribbles are read.").format(uncontrolled)
        )
    if unreadable_images:
        files = counted(unreadable_images, "image file")
        notes.append(escape_text(f"{files} could not be read; placeholders are shown instead."))
    return notes


def _describe_statuses(results: Results) -> str:
    """A sentence such as ``48 images requested, 44 ok, 4 failed.``."""
    counts = results.count_statuses()
    lost = [f"{format_count(counts[s])} {s.replace('_', ' ')}" for s in STATUSES if s != "ok" and counts[s]]
    return ", ".join([f"{counted(counts['requested'], 'image')} requested", f"{counts['ok']:,} ok", *lost]) + "."


def _format_seeds(seeds: Sequence[Any]) -> str:
    listed = ", ".join(map(str, seeds[:MAX_LISTED_SEEDS]))
    more = len(seeds) - MAX_LISTED_SEEDS
    return f"{listed} and {more} more" if more > 0 else listed or "none"
