"""The miniature generator itself: an image is the same alone and in company, up to rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from layoutmark.generate import generation as verb
from layoutmark.generate.generation import generate
from layoutmark.plan.jobs import jobs
from layoutmark.plan.plan import Plan, find_row, make_plan
from layoutmark.plan.reference_rows import BASE, SHUFFLED, shuffled
from layoutmark.registry import Registry
from layoutmark.store import Store
from layoutmark.suites.opening import open_suite


def silent(name: str, done: int, total: int) -> None:
    return None


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(Registry(), suite="mini", stack="mini", methods=[BASE], limit=3, overrides={"steps": 3})


def test_alone_and_in_company(plan, tmp_path, monkeypatch) -> None:
    registry = Registry()
    suite = open_suite(registry, plan.suite, registry.get_stack(plan.stack), plan.limit)
    base, mixed = find_row(plan, BASE), find_row(plan, SHUFFLED)
    plan = replace(plan, rows=(mixed, base))  # the order of the table, not that of the work
    images = {}
    for size in (1, 4):
        monkeypatch.setattr(verb, "BATCH", size)
        store = Store(tmp_path / str(size))
        generate(plan, suite, registry, store, "cpu", silent)
        images[size] = {j.sample.id: store.image(j.key) for j in jobs(plan, suite, base)}
        for job in jobs(plan, suite, mixed):
            np.testing.assert_array_equal(store.image(job.key), images[size][shuffled(suite.samples)[job.sample.id]])
    worst = max(int(np.abs(images[1][s].astype(int) - images[4][s].astype(int)).max()) for s in images[1])
    assert worst <= 1, f"grey values differ by up to {worst} of 255"
    assert len({i.tobytes() for i in images[1].values()}) == 3


def test_other_pictures_of_base_are_other_shuffled_ones(plan) -> None:
    registry = Registry()
    suite = open_suite(registry, plan.suite, registry.get_stack(plan.stack), plan.limit)
    row = find_row(plan, SHUFFLED)
    more = replace(
        plan,
        rows=tuple(replace(r, settings={**r.settings, "steps": 4}) if r.name == BASE else r for r in plan.rows),
    )
    assert not {j.key for j in jobs(plan, suite, row)} & {j.key for j in jobs(more, suite, row)}
