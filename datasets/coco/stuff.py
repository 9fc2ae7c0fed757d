"""Phrases for COCO's names of stuff: `wall-brick` is "brick wall", `sky-other-merged` is "sky"."""

from __future__ import annotations

SILENT_PARTS = ("merged", "other", "stuff")
"""Parts of names that only distinguish classes and describe nothing visible."""
NAMES_IN_SPOKEN_ORDER = ("window-blind",)
COMPOUNDS = {"playingfield": "playing field"}


def category_phrase(category: str) -> str:
    """How a category of COCO, COCO-Stuff or COCO Panoptic is spoken; names of things are unchanged.

    >>> [category_phrase(name) for name in ("wall-brick", "sky-other-merged", "hot dog")]
    ['brick wall', 'sky', 'hot dog']
    """
    parts = [part for part in category.split("-") if part not in SILENT_PARTS] or [category]
    words = parts if category in NAMES_IN_SPOKEN_ORDER else reversed(parts)
    return " ".join(COMPOUNDS.get(word, word) for word in words)
