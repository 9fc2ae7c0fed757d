"""Labels and phrases of other hands: respelt, and split into category and colour."""

from __future__ import annotations

import re
from collections.abc import Iterable

COLOURS = frozenset((
    "red", "orange", "yellow", "green", "blue", "purple", "violet", "pink", "brown", "black", "white", "grey", "gray",
    "gold", "silver", "golden",
))  # fmt: skip
ARTICLES = frozenset(("a", "an", "the"))
RESPELT = "label respelt in words"
BLANKS = "stray blanks in the prompt"
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def respelt(label: str, repairs: list[str]) -> str:
    """A label as words: `dining_table`, `computerChair` and ` Cat` are "dining table", "computer chair" and "cat".

    Told in `repairs` if it changed.
    """
    words = _HUMP.sub(" ", label).replace("_", " ").split()
    spelt = " ".join(words).lower()
    if spelt != label:
        repairs.append(RESPELT)
    return spelt


def tidied(text: str, repairs: list[str], told: str = BLANKS) -> str:
    """Text with single blanks only; told in `repairs` if it changed."""
    tidy = " ".join(text.split())
    if tidy != text:
        repairs.append(told)
    return tidy


def category_of(phrase: str) -> tuple[str, dict[str, str]]:
    """The phrase in small letters without article and leading colour, and the colour as an attribute.

    "a green Cat" gives ("cat", {"colour": "green"}).  A phrase of nothing else stays as it is.
    """
    words = phrase.lower().split()
    if len(words) > 1 and words[0] in ARTICLES:
        words = words[1:]
    if len(words) > 1 and words[0] in COLOURS:
        return " ".join(words[1:]), {"colour": words[0]}
    return " ".join(words), {}


def with_article(noun: str) -> str:
    """The noun after "a" or "an", by its first letter."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def sentence(nouns: Iterable[str]) -> str:
    """A prompt for things that come without one: "a photo of a dog, a cat and an apple", each noun once."""
    once = [with_article(n) for n in dict.fromkeys(nouns)]
    return "a photo of " + (" and ".join([", ".join(once[:-1]), once[-1]]) if len(once) > 1 else once[0])
