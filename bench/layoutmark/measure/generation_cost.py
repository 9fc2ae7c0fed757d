"""Time and memory that generation took, as recorded when the images were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from layoutmark.api import Suite
from layoutmark.plan.jobs import list_jobs
from layoutmark.plan.plan import Plan, Row
from layoutmark.score import SCORED_STATUSES
from layoutmark.store import Store

UNKNOWN_DEVICE = "unknown"
"""Device of an image whose record does not name one."""


def generation_costs(plan: Plan, suite: Suite, store: Store) -> dict[str, Any]:
    """Return, by method: mean seconds per image, cost by number of instances, and number of images by device."""
    seconds, cost, devices = {}, {}, {}
    for row in plan.rows:
        if row.kind != "method":
            continue
        by_instance_count = _records_by_instance_count(plan, suite, row, store)
        records = [record for group in by_instance_count.values() for record in group]
        if records:
            seconds[row.name] = sum(float(r["seconds"]) for r in records) / len(records)
            device_names = [str(r.get("device", UNKNOWN_DEVICE)) for r in records]
            devices[row.name] = dict(sorted(Counter(device_names).items()))
            cost[row.name] = [
                _cost(count, group, row.settings.get("steps")) for count, group in sorted(by_instance_count.items())
            ]
    return {"per_image_seconds": seconds, "cost": cost, "drawn_on": devices}


def _records_by_instance_count(plan: Plan, suite: Suite, row: Row, store: Store) -> dict[int, list[Mapping[str, Any]]]:
    row_jobs = list_jobs(plan, suite, row)
    records = store.records([j.key for j in row_jobs])
    by_instance_count: dict[int, list[Mapping[str, Any]]] = {}
    for job in row_jobs:
        record = records.get(job.key)
        if record is not None and record["status"] in SCORED_STATUSES:
            by_instance_count.setdefault(len(job.sample.layout.instances), []).append(record)
    return by_instance_count


def _cost(instance_count: int, records: Sequence[Mapping[str, Any]], steps: Any) -> dict[str, Any]:
    peaks = [int(r["peak_bytes"]) for r in records if r.get("peak_bytes") is not None]
    memory_kinds = {r.get("memory") for r in records}
    return {
        "instances": instance_count, "images": len(records), "steps": steps if isinstance(steps, int) else None,
        "seconds": sum(float(r["seconds"]) for r in records) / len(records),
        "peak_bytes": max(peaks) if len(peaks) == len(records) and len(memory_kinds) == 1 else None,
        "memory": memory_kinds.pop() if len(memory_kinds) == 1 else None,
    }  # fmt: skip
