"""What an attribute could be called: its vocabulary in a suite, and an instance's phrase with each of its words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from layoutmark.layout import Instance, Sample

MOST = 64
"""Words of one attribute; an attribute with more is no choice among words."""


def vocabularies(samples: Iterable[Sample]) -> dict[str, tuple[str, ...]]:
    """Per attribute all the words that samples ask for, sorted.  Those with fewer than two, or too many, have none."""
    found: dict[str, set[str]] = {}
    for sample in samples:
        for instance in sample.layout.instances:
            for key, word in instance.attributes.items():
                found.setdefault(key, set()).add(word)
    return {key: tuple(sorted(words)) for key, words in sorted(found.items()) if 2 <= len(words) <= MOST}


def phrasings(instance: Instance, vocabulary: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, str]]:
    """Attribute -> word -> phrase: the instance's phrase with its own word exchanged.

    Where the phrase does not hold the word, the words stand before the category: ``a WORD CATEGORY``.
    """
    return {
        key: {word: _phrase(instance, own, word) for word in vocabulary[key]}
        for key, own in sorted(instance.attributes.items())
        if key in vocabulary
    }


def _phrase(instance: Instance, own: str, word: str) -> str:
    pattern = re.compile(rf"(?<!\w)(?:(an?) )?{re.escape(own)}(?!\w)")
    if pattern.search(instance.phrase):
        return pattern.sub(lambda m: _article(word) if m[1] else word, instance.phrase, count=1)
    return f"{_article(word)} {instance.category}"


def _article(word: str) -> str:
    return f"an {word}" if word[:1] in "aeiou" else f"a {word}"
