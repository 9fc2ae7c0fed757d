"""Words and numbers as a reader sees them.  Everything that comes out of results passes through here."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")
_JOINT = re.compile("(?<=_)(?=[^_@])|(?<=[^@])(?=@)")
MINUS = "\u2212"


def clean(value: object) -> str:
    """Text without control characters and lone surrogates, which neither HTML nor SVG can hold."""
    return _CONTROL.sub("\ufffd", str(value))


def esc(value: object) -> str:
    """Text for HTML content and for quoted attributes."""
    return html.escape(clean(value), quote=True)


def name(value: object) -> str:
    """Escaped text that keeps its own writing direction and leaves that of its surroundings alone.

    A long one may go on in the next line after ``_`` and before ``@``, as it may after a hyphen.
    """
    return f"<bdi>{_JOINT.sub('<wbr>', esc(value))}</bdi>"


def trim(value: object, length: int = 24) -> str:
    """Plain text of at most `length` characters; a longer one loses its middle."""
    text = " ".join(clean(value).split())
    if len(text) <= length:
        return text
    head = (length - 1) // 2
    return f"{text[:head]}\u2026{text[head + 1 - length :]}"


def finite(value: object) -> float | None:
    """A finite number, else None.  A file somebody edited may hold NaN or text."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def number(value: float, *, sign: bool = False) -> str:
    """Three decimals, fewer for large numbers, with a real minus sign."""
    decimals = 3 if abs(value) < 100 else 1
    text = f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"
    if not text.strip("+-0."):
        text = text.lstrip("-+")
    return text.replace("-", MINUS)


def interval(low: float | None, high: float | None, *, sign: bool = False) -> str:
    """``[low, high]``, or empty when there is none."""
    return "" if low is None or high is None else f"[{number(low, sign=sign)}, {number(high, sign=sign)}]"


def p_value(value: float) -> str:
    """``p 0.012``, or ``p < 0.001``."""
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}"


def count(value: object) -> str:
    """An integer with thousands separated by commas; anything else as it is."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else esc(value)


def plural(n: int, one: str, many: str = "") -> str:
    """``1 sample``, ``1,024 samples``."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def sentence(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def reasons(counts: Mapping[str, Any]) -> str:
    """Escaped reasons, the most frequent first: ``12 no references, 1 constant image``."""
    # A state of an image may stand as its own reason; its name is spelt for programs.
    words = {"not_applicable": "not applicable"}
    ranked = sorted(counts.items(), key=lambda item: (-(finite(item[1]) or 0.0), item[0]))
    return ", ".join(f"{count(n)} {name(words.get(reason, reason) or 'no reason given')}" for reason, n in ranked)
