"""The class hierarchy of Open Images: what else an instance is, and what the absence of a class rules out.

Only `Subcategory` edges count: a wheel is a part of a car (`Part`) but not a car.  A class may have several parents.
Source of the format: storage.googleapis.com/openimages/web, "Class definitions", bbox_labels_600_hierarchy.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from layoutmark.ingest.files import invalid_input_error, read_json
from layoutmark.ingest.values import require_dict, require_list

LABEL_KEY, CHILDREN_KEY = "LabelName", "Subcategory"
MAX_DEPTH = 50


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Parents and children of each label; empty without a file."""

    parents: Mapping[str, frozenset[str]] = field(default_factory=dict)
    children: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def lineage(self, label: str) -> list[str]:
        """The label and its ancestors, nearest first; those at the same distance are sorted by label."""
        return _traverse(self.parents, label)

    def descendants(self, label: str) -> list[str]:
        """The label and its descendants, nearest first."""
        return _traverse(self.children, label)


def read_hierarchy(path: Path) -> Hierarchy:
    """Read the JSON file.  Raises LayoutmarkError if it is not in Open Images' format."""
    where = f"file {path.name}"
    parents: dict[str, set[str]] = {}
    _read_node(require_dict(read_json(path), where), None, parents, where, 0)
    children: dict[str, set[str]] = {}
    for label, label_parents in parents.items():
        for parent in label_parents:
            children.setdefault(parent, set()).add(label)
    return Hierarchy(
        {label: frozenset(labels) for label, labels in parents.items()},
        {label: frozenset(labels) for label, labels in children.items()},
    )


def _read_node(node: Any, parent: str | None, parents: dict[str, set[str]], where: str, depth: int) -> None:
    label = require_dict(node, f"{where}, a class").get(LABEL_KEY)
    if not isinstance(label, str) or not label:
        raise invalid_input_error(where, f"a class without {LABEL_KEY!r}", "the hierarchy of Open Images' 600 classes")
    if depth > MAX_DEPTH:
        raise invalid_input_error(
            f"{where}, class {label}", f"more than {MAX_DEPTH} levels", "the hierarchy of Open Images' 600 classes"
        )
    if parent is not None:
        parents.setdefault(label, set()).add(parent)
    for child in require_list(node.get(CHILDREN_KEY, []), f"{where}, class {label}, {CHILDREN_KEY}"):
        _read_node(child, label, parents, where, depth + 1)


def _traverse(edges: Mapping[str, frozenset[str]], label: str) -> list[str]:
    """Labels reachable from `label` in breadth-first order."""
    reached, level = [label], [label]
    while level:
        level = sorted({neighbour for current in level for neighbour in edges.get(current, ())} - set(reached))
        reached += level
    return reached
