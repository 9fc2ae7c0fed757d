"""Images depend on their own inputs only; a fault costs one image and is recorded with its reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layoutmark.api import Suite
from layoutmark.generate import batches
from layoutmark.generate.generation import generate
from layoutmark.plan.jobs import list_jobs
from layoutmark.plan.plan import Plan, find_row, make_plan
from layoutmark.plan.reference_rows import (
    ADVERSARY_TITLES,
    BAIT,
    BLANK,
    CEILING,
    CONSTANT,
    GIANT,
    PASTED,
    shuffled_partners,
)
from layoutmark.provenance import digest_pixels
from layoutmark.registry import Registry
from layoutmark.store import Store
from layoutmark.suites import SuiteSubset
from layoutmark.suites.opening import open_suite

COUNT = 5


@pytest.fixture(scope="module")
def registry(paint: Path) -> Registry:
    return Registry([paint])


@pytest.fixture(scope="module")
def suite(registry: Registry) -> Suite:
    return open_suite(registry, "mini", registry.get_stack("mini"), COUNT)


@pytest.fixture(scope="module")
def plan(registry: Registry) -> Plan:
    return make_plan(registry, suite="mini", stack="mini", methods=["paint"], seeds=2, limit=COUNT)


def ignore_progress(name: str, done: int, total: int) -> None:
    assert 0 <= done <= total


def only_paint(plan: Plan, **settings: Any) -> Plan:
    row = find_row(plan, "paint")
    return replace(plan, rows=(replace(row, settings={**row.settings, **settings}),))


def generate_records(
    plan: Plan, suite: Suite, registry: Registry, store: Store
) -> dict[tuple[str, str, int], Mapping[str, Any]]:
    """Generate; return record and pixel digest of every image."""
    generate(plan, suite, registry, store, "cpu", ignore_progress)
    records = {}
    for row in plan.rows:
        for job in list_jobs(plan, suite, row):
            record = store.record(job.key)
            assert record is not None
            records[row.name, job.sample.id, job.seed] = {**record, "pixels": store.pixel_digest(job.key)}
    return records


def pixel_digests(records: Mapping[Any, Mapping[str, Any]]) -> dict[Any, Any]:
    return {key: record["pixels"] for key, record in records.items()}


def test_images_do_not_depend_on_batch_order_limit_or_seeds(plan, suite, registry, tmp_path, monkeypatch) -> None:
    plan = only_paint(plan)
    expected = pixel_digests(generate_records(plan, suite, registry, Store(tmp_path / "whole")))
    assert None not in expected.values()
    assert len(set(expected.values())) == 2 * COUNT, "every image is different"

    for batch_size in (1, 3):
        monkeypatch.setattr(batches, "BATCH_SIZE", batch_size)
        assert pixel_digests(generate_records(plan, suite, registry, Store(tmp_path / f"by {batch_size}"))) == expected
    reversed_suite = SuiteSubset(suite, suite.samples[::-1], ())
    assert pixel_digests(generate_records(plan, reversed_suite, registry, Store(tmp_path / "backwards"))) == expected
    first_two = SuiteSubset(suite, suite.samples[:2], ())
    digests = pixel_digests(generate_records(replace(plan, seeds=(0,)), first_two, registry, Store(tmp_path / "few")))
    assert digests == {key: expected[key] for key in digests}
    assert len(digests) == 2


def test_dependence_on_the_batch_would_be_noticed(plan, suite, registry, tmp_path, monkeypatch) -> None:
    plan = only_paint(plan, fault="batch")
    together = pixel_digests(generate_records(plan, suite, registry, Store(tmp_path / "together")))
    monkeypatch.setattr(batches, "BATCH_SIZE", 1)
    assert pixel_digests(generate_records(plan, suite, registry, Store(tmp_path / "alone"))) != together


def test_more_seeds_do_not_change_the_batches_of_the_first(plan, suite) -> None:
    two_seeds = [j for batch in batches.make_batches(list_jobs(plan, suite, find_row(plan, "paint"))) for j in batch]
    one_seed = [
        j
        for batch in batches.make_batches(list_jobs(replace(plan, seeds=(0,)), suite, find_row(plan, "paint")))
        for j in batch
    ]
    assert [j.key for j in two_seeds][: len(one_seed)] == [j.key for j in one_seed]


def test_stored_images_are_not_generated_again(plan, suite, registry, tmp_path) -> None:
    plan, store = only_paint(plan), Store(tmp_path)
    first = generate_records(plan, suite, registry, store)
    assert generate(plan, suite, registry, store, "cpu", ignore_progress) == {"paint": 0.0}
    job = list_jobs(plan, suite, plan.rows[0])[3]
    store.image_path(job.key).unlink()
    assert pixel_digests(generate_records(plan, suite, registry, store)) == pixel_digests(first)


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("raises", "failed", r"ValueError: no paint left \(paint, line \d+\)"),
        ("applicable raises", "failed", r"RuntimeError: cannot tell \(applicable, line \d+\)"),
        ("not applicable", "not_applicable", "too many things"),
        ("constant", "degenerate", "constant image"),
        ("filtered", "filtered", "blanked"),
        (
            "floats", "failed",
            r"images of a method: found float32 \(1, 3, 64, 64\); expected uint8 \(1, 3, H, W\). Return images .*\.",
        ),
        (
            "channels last", "failed",
            r"images of a method: found uint8 \(1, 64, 64, 3\); expected uint8 \(1, 3, H, W\). Return images .*\.",
        ),
        ("too few notes", "failed", r"notes of a method: found 0 for 1 images; expected one mapping per image.*asks\."),
    ],
)  # fmt: skip
def test_a_fault_costs_one_image(
    fault: str, status: str, reason: str, plan: Plan, suite: Suite, registry: Registry, tmp_path: Path
) -> None:
    one_seed = replace(plan, seeds=(0,))
    healthy = generate_records(only_paint(one_seed), suite, registry, Store(tmp_path / "healthy"))
    faulty_sample = suite.samples[2]
    records = generate_records(
        only_paint(one_seed, fault=fault, prompt=faulty_sample.prompt), suite, registry, Store(tmp_path / "faulty")
    )
    record = records.pop(("paint", faulty_sample.id, 0))
    assert record["status"] == status
    assert re.fullmatch(reason, record["reason"]), record["reason"]
    assert (record["pixels"] is None) == (status in ("failed", "not_applicable"))
    assert [r["status"] for r in records.values()] == ["ok"] * (COUNT - 1)
    assert pixel_digests(records) == {key: healthy[key]["pixels"] for key in records}


def test_ceiling_and_blank_rows(plan, suite, registry, tmp_path) -> None:
    plan = replace(plan, seeds=(0,), rows=tuple(r for r in plan.rows if r.kind == "reference"))
    assert [r.name for r in plan.rows] == [CEILING, BLANK], "without base there is nothing to shuffle"
    store = Store(tmp_path)
    records = generate_records(plan, suite, registry, store)
    for sample in suite.samples:
        assert records[CEILING, sample.id, 0]["status"] == "ok"
        blank = records[BLANK, sample.id, 0]
        assert (blank["status"], blank["reason"]) == ("degenerate", "constant image")
    for job in list_jobs(plan, suite, find_row(plan, CEILING)):
        np.testing.assert_array_equal(store.image(job.key), suite.true_image(job.sample.id))


@pytest.mark.parametrize("count", [2, 3, COUNT])
def test_shuffling_gives_no_sample_its_own_image(suite, count) -> None:
    samples: Sequence[Any] = suite.samples[:count]
    partners = shuffled_partners(samples)
    assert sorted(partners) == sorted(partners.values()) == sorted(s.id for s in samples)
    assert all(a != b for a, b in partners.items())
    assert shuffled_partners(samples[::-1]) == partners


def test_a_method_without_weights_is_left_out_with_the_command_that_trains_them(tmp_path: Path) -> None:
    folder = tmp_path / "methods" / "learner"
    folder.mkdir(parents=True)
    card = (
        'name = "learner"\ntitle = "L"\nsummary = "s"\nversion = "1"\ntraining_free = false\ninputs = ["prompt"]\n'
        'stacks = ["mini"]\n[settings.default]\nweights = "mini.safetensors"\n'
    )
    (folder / "method.toml").write_text(card, "utf-8")
    registry = Registry([tmp_path])
    left_out = make_plan(registry, suite="mini", stack="mini", limit=1).left_out
    assert left_out["learner"] == "no weights for stack 'mini' yet: layoutmark train learner --stack mini"
    (folder / "weights").mkdir()
    (folder / "weights" / "mini.safetensors").touch()
    assert "learner" not in make_plan(registry, suite="mini", stack="mini", limit=1).left_out


def adversary_plan(registry: Registry, suite: str) -> Plan:
    return make_plan(registry, suite=suite, stack="mini", methods=None, limit=3, adversaries=True)


@pytest.mark.parametrize("name", ["mini", "mini-refs", "mini-dev"])
def test_adversaries_are_made_of_the_images_of_the_suite(name: str, registry: Registry, tmp_path: Path) -> None:
    plan = adversary_plan(registry, name)
    assert [r.name for r in plan.rows] == [CEILING, BLANK, *ADVERSARY_TITLES]
    suite = open_suite(registry, name, registry.get_stack("mini"), 3)
    store = Store(tmp_path)
    records = generate_records(plan, suite, registry, store)
    assert {r["status"] for (row, *_), r in records.items() if row != BLANK} == {"ok"}
    images = {(row.name, j.sample.id): store.image(j.key) for row in plan.rows for j in list_jobs(plan, suite, row)}
    for sample in suite.samples:
        true_image = suite.true_image(sample.id)
        assert true_image is not None
        assert (images[CONSTANT, sample.id] == suite.true_image(suite.samples[0].id)).all()
        pasted = images[PASTED, sample.id]
        is_outside = np.ones((64, 64), bool)
        for instance in sample.layout.instances:
            x0, y0, x1, y1 = instance.box.to_cells(64, 64)
            is_outside[y0:y1, x0:x1] = False
            if name == "mini":
                np.testing.assert_array_equal(pasted[y0:y1, x0:x1], true_image[y0:y1, x0:x1])
        assert (pasted[is_outside] == 128).all()
        assert (pasted[~is_outside] != 128).any()
        for trick in (GIANT, BAIT):
            assert (images[trick, sample.id] == 128).mean() < 0.05, "hardly any grey is left"
    assert len({digest_pixels(p) for (row, _), p in images.items() if row == BAIT}) == 3


def test_a_suite_without_images_has_no_adversaries(registry: Registry, suite: Suite, monkeypatch) -> None:
    monkeypatch.setattr(SuiteSubset, "true_image", lambda self, sample: None)
    monkeypatch.setattr(SuiteSubset, "references", lambda self, sample: {})
    plan = adversary_plan(registry, "mini")
    assert [r.name for r in plan.rows] == [BLANK]
    assert set(plan.left_out) == set(ADVERSARY_TITLES)
    assert "neither true images nor references" in plan.left_out[PASTED]
