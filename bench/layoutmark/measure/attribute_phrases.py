"""The values an attribute takes in a suite, and an instance's phrase with each of those values substituted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from layoutmark.layout import Instance, Sample

MAX_ATTRIBUTE_VALUES = 64
"""Attributes with more distinct values are treated as free text."""


def attribute_vocabularies(samples: Iterable[Sample]) -> dict[str, tuple[str, ...]]:
    """Return the sorted distinct values of each attribute in `samples`.

    Attributes with fewer than two values, or more than `MAX_ATTRIBUTE_VALUES`, are left out.

    >>> from layoutmark.layout import Box, Canvas, Layout
    >>> cats = [Instance(c, f"a {c} cat", "cat", Box(0, 0, 1, 1), attributes={"colour": c}) for c in ("red", "grey")]
    >>> attribute_vocabularies([Sample("s", "two cats", Layout(Canvas(64, 64), tuple(cats)))])
    {'colour': ('grey', 'red')}
    """
    values_by_key: dict[str, set[str]] = {}
    for sample in samples:
        for instance in sample.layout.instances:
            for key, value in instance.attributes.items():
                values_by_key.setdefault(key, set()).add(value)
    return {
        key: tuple(sorted(values))
        for key, values in sorted(values_by_key.items())
        if 2 <= len(values) <= MAX_ATTRIBUTE_VALUES
    }


def attribute_phrases(instance: Instance, vocabulary: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, str]]:
    """Return attribute -> value -> phrase: the instance's phrase with its own value replaced.

    If the phrase does not contain the instance's own value, the result is ``a VALUE CATEGORY``.

    >>> from layoutmark.layout import Box
    >>> cat = Instance("0", "a red cat", "cat", Box(0, 0, 1, 1), attributes={"colour": "red"})
    >>> attribute_phrases(cat, {"colour": ("orange", "red")})
    {'colour': {'orange': 'an orange cat', 'red': 'a red cat'}}
    """
    return {
        key: {value: _substitute(instance, own_value, value) for value in vocabulary[key]}
        for key, own_value in sorted(instance.attributes.items())
        if key in vocabulary
    }


def _substitute(instance: Instance, own_value: str, value: str) -> str:
    pattern = re.compile(rf"(?<!\w)(?:(an?) )?{re.escape(own_value)}(?!\w)")
    if pattern.search(instance.phrase):
        return pattern.sub(lambda m: _with_article(value) if m[1] else value, instance.phrase, count=1)
    return f"{_with_article(value)} {instance.category}"


def _with_article(word: str) -> str:
    return f"an {word}" if word[:1] in "aeiou" else f"a {word}"
