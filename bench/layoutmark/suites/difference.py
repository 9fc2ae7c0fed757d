"""What differs between two versions of a suite: samples by id, and within a sample by what was changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from layoutmark.api import Suite
from layoutmark.layout import Sample, sample_to_json


@dataclass(frozen=True, slots=True)
class Difference:
    """Ids only in the first, ids only in the second, and for those in both that differ the parts that do."""

    removed: tuple[str, ...]
    added: tuple[str, ...]
    changed: dict[str, tuple[str, ...]]
    reordered: bool
    """Whether the samples in both stand in another order."""

    @property
    def same(self) -> bool:
        """Whether there is no difference."""
        return not (self.removed or self.added or self.changed or self.reordered)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "removed": list(self.removed),
            "added": list(self.added),
            "changed": {key: list(parts) for key, parts in self.changed.items()},
            "reordered": self.reordered,
        }


def difference(first: Suite, second: Suite) -> Difference:
    """Compare by sample id; ids are told in the order of the suite that has them."""
    ours, theirs = ({s.id: s for s in suite.samples} for suite in (first, second))
    shared = [i for i in ours if i in theirs]
    return Difference(
        tuple(i for i in ours if i not in theirs),
        tuple(i for i in theirs if i not in ours),
        {i: parts for i in shared if (parts := _changed(ours[i], theirs[i]))},
        shared != [i for i in theirs if i in ours],
    )


def _changed(one: Sample, other: Sample) -> tuple[str, ...]:
    """Names of the parts that differ: prompt, canvas, strata, provenance, and parts of single instances."""
    a, b = sample_to_json(one), sample_to_json(other)
    parts = [key for key in a if key != "instances" and a[key] != b[key]]
    mine, yours = ({i["id"]: i for i in data["instances"]} for data in (a, b))
    if list(mine) != list(yours):
        parts.append("instances")
    for name in mine.keys() & yours.keys():
        keys = mine[name].keys() | yours[name].keys()
        parts += [f"instance {name}: {key}" for key in keys if mine[name].get(key) != yours[name].get(key)]
    return tuple(sorted(parts))
