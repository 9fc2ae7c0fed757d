"""COCO's names for stuff as phrases: `wall-brick` is "brick wall", `sky-other-merged` is "sky"."""

from __future__ import annotations

WORDLESS = ("merged", "other", "stuff")
"""Parts of names that tell classes apart from others and say nothing of what is seen."""
IN_ORDER = ("window-blind",)
"""Names whose parts stand in the order of speech."""
JOINED = {"playingfield": "playing field"}


def phrase_of(category: str) -> str:
    """How one would say a category of COCO, Stuff or Panoptic; names of things stay as they are."""
    parts = [part for part in category.split("-") if part not in WORDLESS] or [category]
    words = parts if category in IN_ORDER else reversed(parts)
    return " ".join(JOINED.get(word, word) for word in words)
