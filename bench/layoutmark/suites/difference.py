"""Differences between two versions of a suite: samples by id, and the changed fields of each sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from layoutmark.api import Suite
from layoutmark.layout import Sample, sample_to_json


@dataclass(frozen=True, slots=True)
class SuiteDifference:
    """Differences between a first and a second suite."""

    removed: tuple[str, ...]
    """Ids of samples that only the first suite has."""
    added: tuple[str, ...]
    """Ids of samples that only the second suite has."""
    changed: dict[str, tuple[str, ...]]
    """By id of a sample in both suites: the fields that differ."""
    reordered: bool
    """Whether the samples in both suites are in another order."""

    @property
    def is_identical(self) -> bool:
        """Whether there is no difference."""
        return not (self.removed or self.added or self.changed or self.reordered)

    def to_json(self) -> dict[str, Any]:
        """The difference as plain data."""
        return {
            "removed": list(self.removed),
            "added": list(self.added),
            "changed": {key: list(fields) for key, fields in self.changed.items()},
            "reordered": self.reordered,
        }


def diff_suites(first: Suite, second: Suite) -> SuiteDifference:
    """Compare two suites by sample id; ids are listed in the order of the suite that has them."""
    first_samples, second_samples = ({s.id: s for s in suite.samples} for suite in (first, second))
    shared_ids = [i for i in first_samples if i in second_samples]
    return SuiteDifference(
        tuple(i for i in first_samples if i not in second_samples),
        tuple(i for i in second_samples if i not in first_samples),
        {i: fields for i in shared_ids if (fields := _changed_fields(first_samples[i], second_samples[i]))},
        shared_ids != [i for i in second_samples if i in first_samples],
    )


def _changed_fields(first: Sample, second: Sample) -> tuple[str, ...]:
    """Names of the fields that differ: prompt, canvas, strata, provenance, and fields of single instances."""
    a, b = sample_to_json(first), sample_to_json(second)
    fields = [key for key in a if key != "instances" and a[key] != b[key]]
    first_instances, second_instances = ({i["id"]: i for i in data["instances"]} for data in (a, b))
    if list(first_instances) != list(second_instances):
        fields.append("instances")
    for name in first_instances.keys() & second_instances.keys():
        old, new = first_instances[name], second_instances[name]
        fields += [f"instance {name}: {key}" for key in old.keys() | new.keys() if old.get(key) != new.get(key)]
    return tuple(sorted(fields))
