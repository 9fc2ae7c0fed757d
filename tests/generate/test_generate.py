"""Images depend on their own inputs alone, and whatever goes wrong costs one image and is told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layoutmark.api import Suite
from layoutmark.generate import generation as verb
from layoutmark.generate.generation import generate
from layoutmark.plan.jobs import jobs
from layoutmark.plan.plan import Plan, find_row, make_plan
from layoutmark.plan.reference_rows import ADVERSARIES, BAIT, BLANK, CEILING, CONSTANT, GIANT, PASTED, shuffled
from layoutmark.provenance import digest_pixels
from layoutmark.registry import Registry
from layoutmark.store import Store
from layoutmark.suites import NarrowedSuite
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


def silent(name: str, done: int, total: int) -> None:
    assert 0 <= done <= total


def only_paint(plan: Plan, **settings: Any) -> Plan:
    row = find_row(plan, "paint")
    return replace(plan, rows=(replace(row, settings={**row.settings, **settings}),))


def made(plan: Plan, suite: Suite, registry: Registry, store: Store) -> dict[tuple[str, str, int], Mapping[str, Any]]:
    """Run, and give record and pixel digest of every image."""
    generate(plan, suite, registry, store, "cpu", silent)
    found = {}
    for row in plan.rows:
        for job in jobs(plan, suite, row):
            record = store.record(job.key)
            assert record is not None
            found[row.name, job.sample.id, job.seed] = {**record, "pixels": store.pixel_digest(job.key)}
    return found


def pixels(found: Mapping[Any, Mapping[str, Any]]) -> dict[Any, Any]:
    return {place: record["pixels"] for place, record in found.items()}


def test_images_do_not_depend_on_batch_order_limit_or_seeds(plan, suite, registry, tmp_path, monkeypatch) -> None:
    plan = only_paint(plan)
    whole = pixels(made(plan, suite, registry, Store(tmp_path / "whole")))
    assert None not in whole.values()
    assert len(set(whole.values())) == 2 * COUNT, "every image is another one"

    for size in (1, 3):
        monkeypatch.setattr(verb, "BATCH", size)
        assert pixels(made(plan, suite, registry, Store(tmp_path / f"by {size}"))) == whole
    backwards = NarrowedSuite(suite, suite.samples[::-1], ())
    assert pixels(made(plan, backwards, registry, Store(tmp_path / "backwards"))) == whole
    few = NarrowedSuite(suite, suite.samples[:2], ())
    part = pixels(made(replace(plan, seeds=(0,)), few, registry, Store(tmp_path / "few")))
    assert part == {place: whole[place] for place in part}
    assert len(part) == 2


def test_dependence_on_the_batch_would_be_seen(plan, suite, registry, tmp_path, monkeypatch) -> None:
    plan = only_paint(plan, fault="batch")
    together = pixels(made(plan, suite, registry, Store(tmp_path / "together")))
    monkeypatch.setattr(verb, "BATCH", 1)
    assert pixels(made(plan, suite, registry, Store(tmp_path / "alone"))) != together


def test_a_batch_holds_the_same_images_however_many_seeds_are_asked_for(plan, suite) -> None:
    two = [j for batch in verb._batches(jobs(plan, suite, find_row(plan, "paint"))) for j in batch]
    one = [j for batch in verb._batches(jobs(replace(plan, seeds=(0,)), suite, find_row(plan, "paint"))) for j in batch]
    assert [j.key for j in two][: len(one)] == [j.key for j in one]


def test_what_is_there_is_not_made_again(plan, suite, registry, tmp_path) -> None:
    plan, store = only_paint(plan), Store(tmp_path)
    first = made(plan, suite, registry, store)
    assert generate(plan, suite, registry, store, "cpu", silent) == {"paint": 0.0}
    job = jobs(plan, suite, plan.rows[0])[3]
    store.image_path(job.key).unlink()
    assert pixels(made(plan, suite, registry, store)) == pixels(first)


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("raises", "failed", r"ValueError: no paint left \(paint, line \d+\)"),
        ("applicable raises", "failed", r"RuntimeError: cannot even tell \(applicable, line \d+\)"),
        ("not applicable", "not_applicable", "too many things"),
        ("constant", "degenerate", "constant image"),
        ("filtered", "filtered", "blanked"),
        (
            "floats", "failed",
            r"images of a method: found float32 \(1, 3, 64, 64\); expected uint8 \(1, 3, H, W\). Return what .*\.",
        ),
        (
            "channels last", "failed",
            r"images of a method: found uint8 \(1, 64, 64, 3\); expected uint8 \(1, 3, H, W\). Return what .*\.",
        ),
        ("too few notes", "failed", r"notes of a method: found 0 for 1 images; expected one mapping an image.*call\."),
    ],
)  # fmt: skip
def test_a_fault_costs_one_image(
    fault: str, status: str, reason: str, plan: Plan, suite: Suite, registry: Registry, tmp_path: Path
) -> None:
    one = replace(plan, seeds=(0,))
    healthy = made(only_paint(one), suite, registry, Store(tmp_path / "healthy"))
    hit = suite.samples[2]
    found = made(only_paint(one, fault=fault, prompt=hit.prompt), suite, registry, Store(tmp_path / "faulty"))
    record = found.pop(("paint", hit.id, 0))
    assert record["status"] == status
    assert re.fullmatch(reason, record["reason"]), record["reason"]
    assert (record["pixels"] is None) == (status in ("failed", "not_applicable"))
    assert [r["status"] for r in found.values()] == ["ok"] * (COUNT - 1)
    assert pixels(found) == {place: healthy[place]["pixels"] for place in found}


def test_true_images_and_blanks(plan, suite, registry, tmp_path) -> None:
    plan = replace(plan, seeds=(0,), rows=tuple(r for r in plan.rows if r.kind == "reference"))
    assert [r.name for r in plan.rows] == [CEILING, BLANK], "there is nothing to shuffle without base"
    store = Store(tmp_path)
    found = made(plan, suite, registry, store)
    for sample in suite.samples:
        assert found[CEILING, sample.id, 0]["status"] == "ok"
        blank = found[BLANK, sample.id, 0]
        assert (blank["status"], blank["reason"]) == ("degenerate", "constant image")
    for job in jobs(plan, suite, find_row(plan, CEILING)):
        np.testing.assert_array_equal(store.image(job.key), suite.true_image(job.sample.id))


@pytest.mark.parametrize("count", [2, 3, COUNT])
def test_shuffling_leaves_no_sample_its_own_picture(suite, count) -> None:
    samples: Sequence[Any] = suite.samples[:count]
    partner = shuffled(samples)
    assert sorted(partner) == sorted(partner.values()) == sorted(s.id for s in samples)
    assert all(a != b for a, b in partner.items())
    assert shuffled(samples[::-1]) == partner


def test_a_method_without_its_weights_is_left_out_with_the_command_that_trains_them(tmp_path: Path) -> None:
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
def test_adversaries_are_drawn_of_what_the_suite_shows(name: str, registry: Registry, tmp_path: Path) -> None:
    plan = adversary_plan(registry, name)
    assert [r.name for r in plan.rows] == [CEILING, BLANK, *ADVERSARIES]
    opened = open_suite(registry, name, registry.get_stack("mini"), 3)
    store = Store(tmp_path)
    found = made(plan, opened, registry, store)
    assert {r["status"] for (row, *_), r in found.items() if row != BLANK} == {"ok"}
    pictures = {(row.name, j.sample.id): store.image(j.key) for row in plan.rows for j in jobs(plan, opened, row)}
    for sample in opened.samples:
        true = opened.true_image(sample.id)
        assert true is not None
        assert (pictures[CONSTANT, sample.id] == opened.true_image(opened.samples[0].id)).all()
        pasted = pictures[PASTED, sample.id]
        outside = np.ones((64, 64), bool)
        for instance in sample.layout.instances:
            x0, y0, x1, y1 = instance.box.cells(64, 64)
            outside[y0:y1, x0:x1] = False
            if name == "mini":
                np.testing.assert_array_equal(pasted[y0:y1, x0:x1], true[y0:y1, x0:x1])
        assert (pasted[outside] == 128).all()
        assert (pasted[~outside] != 128).any()
        for trick in (GIANT, BAIT):
            assert (pictures[trick, sample.id] == 128).mean() < 0.05, "no grey is left"
    assert len({digest_pixels(p) for (row, _), p in pictures.items() if row == BAIT}) == 3


def test_a_suite_that_shows_nothing_has_no_adversaries(registry: Registry, suite: Suite, monkeypatch) -> None:
    monkeypatch.setattr(NarrowedSuite, "true_image", lambda self, sample: None)
    monkeypatch.setattr(NarrowedSuite, "references", lambda self, sample: {})
    plan = adversary_plan(registry, "mini")
    assert [r.name for r in plan.rows] == [BLANK]
    assert set(plan.left_out) == set(ADVERSARIES)
    assert "neither true images nor references" in plan.left_out[PASTED]
