"""Text and numbers as the page shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup

from layoutmark.html_templates import breakable, clean_text, escape_text

MINUS = "\u2212"
REASON_LABELS = {"not_applicable": "not applicable"}
"""Image states that also stand as reasons, spelled for readers."""


def name_html(value: object) -> Markup:
    """A name that keeps its own writing direction, leaves that of its surroundings alone, and may be wrapped."""
    return Markup("<bdi>") + breakable(value) + Markup("</bdi>")


def shorten_middle(value: object, max_characters: int = 24) -> str:
    """Plain text of at most `max_characters`; the middle of a longer one becomes an ellipsis."""
    text = " ".join(clean_text(value).split())
    if len(text) <= max_characters:
        return text
    head = (max_characters - 1) // 2
    return f"{text[:head]}\u2026{text[head + 1 - max_characters :]}"


def finite_or_none(value: object) -> float | None:
    """A finite number as float, else None: a file edited by hand may hold NaN or text."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def format_number(value: float, *, sign: bool = False) -> str:
    """Three decimals, one from 100 up, with a real minus sign; a rounded zero has no sign."""
    decimals = 3 if abs(value) < 100 else 1
    text = f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"
    if not text.strip("+-0."):
        text = text.lstrip("-+")
    return text.replace("-", MINUS)


def format_interval(low: float | None, high: float | None, *, sign: bool = False) -> str:
    """``[low, high]``, or empty if an end is missing."""
    return "" if low is None or high is None else f"[{format_number(low, sign=sign)}, {format_number(high, sign=sign)}]"


def format_p_value(value: float) -> str:
    """``p 0.012``, or ``p < 0.001``."""
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}"


def format_count(value: object) -> str:
    """An integer with thousands separated by commas; anything else as text."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def join_words(words: Iterable[object]) -> Markup:
    """``a``, ``a and b``, ``a, b and c``, escaped."""
    escaped = [escape_text(word) for word in words]
    head = Markup(", ").join(escaped[:-1])
    return Markup(" and ").join([head, escaped[-1]] if len(escaped) > 1 else escaped)


def reasons_html(counts: Mapping[str, Any]) -> Markup:
    """Reasons with their counts, the most frequent first: ``12 no references, 1 constant image``."""
    ranked = sorted(counts.items(), key=lambda item: (-(finite_or_none(item[1]) or 0.0), item[0]))
    return Markup(", ").join(
        Markup("{} {}").format(
            escape_text(format_count(count)), name_html(REASON_LABELS.get(reason, reason) or "no reason given")
        )
        for reason, count in ranked
    )
