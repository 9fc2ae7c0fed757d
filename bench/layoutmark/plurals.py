"""Counts with their noun in singular or plural."""

from __future__ import annotations


def counted(n: int, noun: str, plural: str = "") -> str:
    """`n` and its noun; `plural` is needed only where it is not the noun with an s.

    >>> counted(1, "seed"), counted(0, "seed"), counted(1200, "image"), counted(2, "entry", "entries")
    ('1 seed', '0 seeds', '1,200 images', '2 entries')
    """
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"
