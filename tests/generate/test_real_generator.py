"""The miniature generator: an image is the same alone and in a batch, up to rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from layoutmark.generate import batches
from layoutmark.generate.generation import generate
from layoutmark.plan.jobs import list_jobs
from layoutmark.plan.plan import Plan, find_row, make_plan
from layoutmark.plan.reference_rows import BASE, SHUFFLED, shuffled_partners
from layoutmark.registry import Registry
from layoutmark.store import Store
from layoutmark.suites.opening import open_suite


def ignore_progress(name: str, done: int, total: int) -> None:
    return None


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(Registry(), suite="mini", stack="mini", methods=[BASE], limit=3, overrides={"steps": 3})


def test_images_are_equal_alone_and_in_a_batch(plan, tmp_path, monkeypatch) -> None:
    registry = Registry()
    suite = open_suite(registry, plan.suite, registry.get_stack(plan.stack), plan.limit)
    base_row, shuffled_row = find_row(plan, BASE), find_row(plan, SHUFFLED)
    plan = replace(plan, rows=(shuffled_row, base_row))  # the order of the table, not of generation
    images = {}
    for size in (1, 4):
        monkeypatch.setattr(batches, "BATCH_SIZE", size)
        store = Store(tmp_path / str(size))
        generate(plan, suite, registry, store, "cpu", ignore_progress)
        images[size] = {j.sample.id: store.image(j.key) for j in list_jobs(plan, suite, base_row)}
        for job in list_jobs(plan, suite, shuffled_row):
            np.testing.assert_array_equal(
                store.image(job.key), images[size][shuffled_partners(suite.samples)[job.sample.id]]
            )
    worst = max(int(np.abs(images[1][s].astype(int) - images[4][s].astype(int)).max()) for s in images[1])
    assert worst <= 1, f"grey values differ by up to {worst} of 255"
    assert len({i.tobytes() for i in images[1].values()}) == 3


def test_keys_of_shuffled_images_change_with_those_of_base(plan) -> None:
    registry = Registry()
    suite = open_suite(registry, plan.suite, registry.get_stack(plan.stack), plan.limit)
    shuffled_row = find_row(plan, SHUFFLED)
    changed_plan = replace(
        plan,
        rows=tuple(replace(r, settings={**r.settings, "steps": 4}) if r.name == BASE else r for r in plan.rows),
    )
    assert not {j.key for j in list_jobs(plan, suite, shuffled_row)} & {
        j.key for j in list_jobs(changed_plan, suite, shuffled_row)
    }
