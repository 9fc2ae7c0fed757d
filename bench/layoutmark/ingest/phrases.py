"""Labels and phrases from other sources: normalised, and split into category and colour."""

from __future__ import annotations

import re
from collections.abc import Iterable

COLOURS = frozenset((
    "red", "orange", "yellow", "green", "blue", "purple", "violet", "pink", "brown", "black", "white", "grey", "gray",
    "gold", "silver", "golden",
))  # fmt: skip
ARTICLES = frozenset(("a", "an", "the"))
LABEL_NORMALISED = "label respelt in words"
STRAY_WHITESPACE = "stray blanks in the prompt"
_CAMEL_CASE_BOUNDARY = re.compile(r"(?<=[a-z])(?=[A-Z])")


def normalise_label(label: str, repairs: list[str]) -> str:
    """Convert a label to lower-case words; a change adds a reason to `repairs`.

    >>> [normalise_label(label, []) for label in ("dining_table", "computerChair", " Cat")]
    ['dining table', 'computer chair', 'cat']
    """
    words = _CAMEL_CASE_BOUNDARY.sub(" ", label).replace("_", " ").split()
    normalised = " ".join(words).lower()
    if normalised != label:
        repairs.append(LABEL_NORMALISED)
    return normalised


def collapse_whitespace(text: str, repairs: list[str], reason: str = STRAY_WHITESPACE) -> str:
    """Trim text and collapse runs of white space to one space; a change adds `reason` to `repairs`.

    >>> collapse_whitespace(" a  cat", [])
    'a cat'
    """
    collapsed = " ".join(text.split())
    if collapsed != text:
        repairs.append(reason)
    return collapsed


def parse_phrase(phrase: str) -> tuple[str, dict[str, str]]:
    """Split a phrase into its category, lower-case without article and leading colour, and the colour as an attribute.

    The last word is always part of the category.

    >>> parse_phrase("a green Cat")
    ('cat', {'colour': 'green'})
    >>> parse_phrase("an orange")
    ('orange', {})
    """
    words = phrase.lower().split()
    if len(words) > 1 and words[0] in ARTICLES:
        words = words[1:]
    if len(words) > 1 and words[0] in COLOURS:
        return " ".join(words[1:]), {"colour": words[0]}
    return " ".join(words), {}


def add_article(noun: str) -> str:
    """The noun with "a" or "an", chosen by its first letter.

    >>> add_article("apple")
    'an apple'
    """
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def make_prompt(nouns: Iterable[str]) -> str:
    """A prompt that names each noun once, for scenes without a prompt; there must be at least one noun.

    >>> make_prompt(["dog", "cat", "dog", "apple"])
    'a photo of a dog, a cat and an apple'
    """
    *firsts, last = [add_article(noun) for noun in dict.fromkeys(nouns)]
    return "a photo of " + (f"{', '.join(firsts)} and {last}" if firsts else last)
