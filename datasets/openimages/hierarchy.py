"""The tree of Open Images' classes: what a thing is besides its own class, and what an absent class rules out.

Only `Subcategory` edges count: a wheel is part of a car (`Part`), but no car.  A class may stand below several others.
Source of the form: storage.googleapis.com/openimages/web, "Class definitions", bbox_labels_600_hierarchy.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layoutmark.ingest.files import json_of, listed, mapped, refused

LABEL, BELOW = "LabelName", "Subcategory"
DEEPEST = 50


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Labels directly above and below each label; without a file there are none."""

    above: Mapping[str, frozenset[str]] = field(default_factory=dict)
    below: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def lineage(self, label: str) -> list[str]:
        """The label, then those above it, nearest first; equally near ones by label."""
        return _walked(self.above, label)

    def kinds(self, label: str) -> list[str]:
        """The label, then those below it."""
        return _walked(self.below, label)


def read_hierarchy(path: Path) -> Hierarchy:
    """Read the JSON tree.  Raises LayoutmarkError for one that is not of Open Images' form."""
    place = f"file {path.name}"
    above: dict[str, set[str]] = {}
    _read(mapped(json_of(path), place), None, above, place, 0)
    below: dict[str, set[str]] = {}
    for label, parents in above.items():
        for parent in parents:
            below.setdefault(parent, set()).add(label)
    return Hierarchy(
        {label: frozenset(parents) for label, parents in above.items()},
        {label: frozenset(children) for label, children in below.items()},
    )


def _read(node: Any, parent: str | None, above: dict[str, set[str]], place: str, depth: int) -> None:
    label = mapped(node, f"{place}, a class").get(LABEL)
    if not isinstance(label, str) or not label:
        raise refused(place, f"a class without {LABEL!r}", "the tree of Open Images' 600 classes")
    if depth > DEEPEST:
        raise refused(f"{place}, class {label}", f"more than {DEEPEST} levels", "the tree of Open Images' 600 classes")
    if parent is not None:
        above.setdefault(label, set()).add(parent)
    for child in listed(node.get(BELOW, []), f"{place}, class {label}, {BELOW}"):
        _read(child, label, above, place, depth + 1)


def _walked(edges: Mapping[str, frozenset[str]], label: str) -> list[str]:
    found, level = [label], [label]
    while level:
        level = sorted({other for one in level for other in edges.get(one, ())} - set(found))
        found += level
    return found
