"""Pitfalls 40 to 56: sampling, records and comparison."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from layoutmark.compare import compare_runs, tied_methods
from layoutmark.conformance import CHECKS, Outcome, make_candidate, run_check
from layoutmark.doctor import all_checks
from layoutmark.doctor.runner import perform_check
from layoutmark.evidence import Evidence
from layoutmark.generate.generation import generate
from layoutmark.leaderboard.rules import find_rule_violations
from layoutmark.metrics import all_metrics, summarise_metric
from layoutmark.plan.jobs import list_jobs
from layoutmark.plan.plan import Plan, find_row, make_plan
from layoutmark.provenance import protocol_hash
from layoutmark.registry.card_types import Scorer
from layoutmark.score import Status
from layoutmark.statistics import mean_interval
from layoutmark.store import RunFolder, Store, feature_key, image_key
from layoutmark.suites.opening import open_suite
from registry import Bench, assert_refused, expect, not_injected, pitfall


@pitfall(40, "one seed for the process", "a method that uses the global generator", "`methods check`")
def use_global_generator(bench: Bench) -> None:
    import torch

    entry = bench.registry.get_method("paint")
    adapter: Any = entry.load()

    def paint(self: Any, layout: Any, prompt: str, seed: int) -> Any:
        return torch.randint(0, 60, (3, 64, 64), dtype=torch.uint8)

    bench.patch.setattr(adapter.Paint, "paint", paint)
    expect(run_check(CHECKS["same_seed_same_image"], make_candidate(entry, "tiny")).outcome is Outcome.FAILED)


@pitfall(41, "batch size changes the image", "a method that reads its batch", "`methods check`")
def depend_on_batch(bench: Bench) -> None:
    entry, rule = bench.registry.get_method("paint"), CHECKS["batch_and_order_do_not_matter"]
    adapter: Any = entry.load()
    assert run_check(rule, make_candidate(entry, "tiny")).outcome is Outcome.PASSED
    original = adapter.Paint.generate

    def generate(self: Any, layouts: Any, *arguments: Any, **keywords: Any) -> Any:
        return original(self, layouts, *arguments, **keywords) // 2 + 8 * len(layouts)

    bench.patch.setattr(adapter.Paint, "generate", generate)
    expect(run_check(rule, make_candidate(entry, "tiny")).outcome is Outcome.FAILED)


def _generate_records(bench: Bench, **settings: Any) -> list[Mapping[str, Any]]:
    """Records of `paint` with these settings on two samples."""
    plan = make_plan(bench.registry, suite="mini", stack="mini", methods=["paint"], limit=2)
    row = find_row(plan, "paint")
    plan = dataclasses.replace(plan, rows=(dataclasses.replace(row, settings={**row.settings, **settings}),))
    suite, store = _open_suite(bench, plan), Store(bench.folder / "store")
    generate(plan, suite, bench.registry, store, "cpu", lambda *_: None)
    return [store.record(j.key) or {} for j in list_jobs(plan, suite, plan.rows[0])]


def _open_suite(bench: Bench, plan: Plan) -> Any:
    return open_suite(bench.registry, plan.suite, bench.registry.get_stack(plan.stack), plan.limit)


@pitfall(42, "blanked images dropped", "a safety filter that blanks every image", "status `filtered`, counted")
def filter_every_image(bench: Bench) -> None:
    expect([r["status"] for r in _generate_records(bench, fault="filtered")] == ["filtered"] * 2)


@pitfall(43, "NaN and black images", "a method that returns constant images, and one that returns floats",
         "status `degenerate`; refused")  # fmt: skip
def return_degenerate_images(bench: Bench) -> None:
    expect([r["status"] for r in _generate_records(bench, fault="constant")] == ["degenerate"] * 2)
    records = _generate_records(bench, fault="floats")
    expect({r["status"] for r in records} == {"failed"} and "float32" in records[0]["reason"])


def _make_facts(**changes: Any) -> dict[str, Any]:
    row = {"counts": {"requested": 1}, "settings": {"steps": 50}, "kind": "method", "preset": "", "deviations": [1]}
    return {"row": {**row, **changes.pop("row", {})}, "overrides": [], "because": "", "track": "matched", **changes}


IMAGE: Mapping[str, Any] = {"notes": {}}


@pitfall(44, "methods with different settings in one table", "50 steps on a track that requires 25",
         "leaderboard rules")  # fmt: skip
def change_matched_setting(bench: Bench) -> None:
    expect(find_rule_violations(_make_facts(), [IMAGE], {"steps": 50}) == [])
    expect(find_rule_violations(_make_facts(), [IMAGE], {"steps": 25}) == ["not matched: steps"])


def _copy_changed_run(bench: Bench, change: Any) -> RunFolder:
    """A copy of the tiny run with its results changed."""
    import shutil

    shutil.copytree(bench.tiny.folder, bench.folder / "other", dirs_exist_ok=True)
    data = copy.deepcopy(bench.tiny.results())
    change(data)
    (bench.folder / "other" / "results.json").write_text(json.dumps(data, sort_keys=True), "utf-8")
    return RunFolder(bench.folder / "other")


def _compare_with_tiny_run(bench: Bench, other: RunFolder) -> Any:
    return compare_runs([("one", RunFolder(bench.tiny.folder), "paint"), ("two", other, "paint")])


@pitfall(45, "seeds differ between methods", "a run with a different seed", "protocol hash; compare refuses")
def change_seeds(bench: Bench) -> None:
    def change(data: dict[str, Any]) -> None:
        parts = data["protocol"]["parts"]
        parts["seeds"] = [1]
        data["protocol"]["hash"] = protocol_hash(parts)

    assert_refused(lambda: _compare_with_tiny_run(bench, _copy_changed_run(bench, change)), "seeds differ")


@pitfall(46, "the best of several seeds, or a hand-picked one", "an entry with one image removed",
         "leaderboard rules: incomplete")  # fmt: skip
def remove_an_image(bench: Bench) -> None:
    facts = _make_facts(row={"counts": {"requested": 2, "missing": 1}})
    expect(any("incomplete" in f for f in find_rule_violations(facts, [IMAGE, IMAGE], {"steps": 50})))
    expect(
        any(
            "incomplete" in f
            for f in find_rule_violations(_make_facts(row={"counts": {"requested": 2}}), [IMAGE], {"steps": 50})
        )
    )


@pitfall(47, "repeated prompts counted as independent", "every image twice", "clusters by prompt; doctor counts them")
def repeat_prompts(bench: Bench) -> None:
    values, prompts = [0.1, 0.4, 0.6, 0.9], ["a", "b", "c", "d"]
    single, repeated = mean_interval(values, prompts), mean_interval(values * 2, prompts * 2)
    independent = mean_interval(values * 2, [*prompts, "e", "f", "g", "h"])
    assert single is not None
    assert repeated is not None
    assert independent is not None
    expect(abs((repeated.high - repeated.low) - (single.high - single.low)) < 1e-12)
    expect(independent.high - independent.low < 0.8 * (single.high - single.low), "independent prompts would narrow it")
    _, detail = perform_check(all_checks()["duplicate prompts"], bench.context)
    expect(
        detail.startswith(f"{len(bench.context.suite.samples) - len({s.prompt for s in bench.context.suite.samples})} ")
    )


@pitfall(48, "missing images dropped", "one image of three missing", "n of N, and the reason counted")
def lose_an_image(bench: Bench) -> None:
    (metric,) = [m for m in all_metrics({"detector": "d"}) if m.info.name == "miou"]
    sample = bench.context.suite.samples[0]
    from layoutmark.evidence import Detections

    detections = Detections(sample.layout.boxes(), np.ones(len(sample.layout.instances)),
                      tuple(i.category for i in sample.layout.instances))  # fmt: skip
    present = [Evidence(sample, k, Status.OK, detections=detections) for k in range(2)]
    summary = summarise_metric(metric, [*present, Evidence(sample, 2, Status.MISSING, "not in the store")])
    expect((summary.n, summary.requested, dict(summary.unscored)) == (2, 3, {"missing": 1}))


@pitfall(49, "exceptions swallowed", "a method that raises", "status `failed` with its text, `--fail-above`")
def raise_in_method(bench: Bench) -> None:
    records = _generate_records(bench, fault="raises")
    expect({r["status"] for r in records} == {"failed"} and "no paint left" in records[0]["reason"])


@pitfall(
    50,
    "a repeated run appends",
    "an image and its record stored twice",
    "keyed store: the second replaces the first",
)
def store_an_image_twice(bench: Bench) -> None:
    store, image = Store(bench.folder / "twice"), np.zeros((4, 4, 3), np.uint8)
    for status in ("ok", "filtered"):
        store.put_image("k" * 64, image, {"status": status})
    expect((store.record("k" * 64) or {})["status"] == "filtered" and len(store.records(["k" * 64])) == 1)


@pitfall(51, "a cache that ignores its model", "each part of a key changed separately", "a different key each time")
def change_parts_of_keys(bench: Bench) -> None:
    feature: dict[str, Any] = {"pixels": "p", "extractor": "e", "weights": "w", "settings": {"code": "c"}}
    changes: list[dict[str, Any]] = [
        {"pixels": "q"}, {"extractor": "f"}, {"weights": "v"}, {"settings": {"code": "d"}}
    ]  # fmt: skip
    expect(len({feature_key(**{**feature, **c}) for c in ({}, *changes)}) == 5)
    sample = bench.context.suite.samples[0]
    image: dict[str, Any] = {
        "method": "m", "code": "c", "weights": "w", "settings": {}, "sample": sample, "references": "r", "seed": 1,
        "stack": "s",
    }  # fmt: skip
    other: dict[str, Any] = {
        "method": "n", "code": "d", "weights": "v", "settings": {"a": 1}, "sample": bench.context.suite.samples[1],
        "references": "q", "seed": 2, "stack": "t",
    }  # fmt: skip
    expect(len({image_key(**{**image, k: v}) for k, v in other.items()} | {image_key(**image)}) == 1 + len(other))


@pitfall(52, "results of different versions compared", "a different digest of the metrics' code", "compare refuses")
def change_code_digest(bench: Bench) -> None:
    def change(data: dict[str, Any]) -> None:
        parts = data["protocol"]["parts"]
        parts["code"]["metrics"] = "0" * 64
        data["protocol"]["hash"] = protocol_hash(parts)

    assert_refused(lambda: _compare_with_tiny_run(bench, _copy_changed_run(bench, change)), "code differ")


@pitfall(53, "neighbours ranked without a significant difference", "two methods 0.001 apart, p 0.5", "one tie group")
def rank_close_methods(bench: Bench) -> None:
    (metric,) = [m for m in all_metrics({"detector": "d"}) if m.info.name == "miou"]
    rows = [{"method": m, "metric": "miou", "value": v} for m, v in (("a", 0.501), ("b", 0.5), ("c", 0.1))]
    pairs = [
        {"a": a, "b": b, "metric": "miou", "p_holm": p}
        for a, b, p in (("a", "b", 0.5), ("a", "c", 0.001), ("b", "c", 0.001))
    ]
    expect(tied_methods(rows, pairs, ["a", "b", "c"], [metric])["miou"] == [["a", "b"], ["c"]])


not_injected(54, "weights of an overall score", "there is no overall score")
not_injected(55, "a gate that fails on noise", "a rate, not a fault; simulated in `tests/validity/gate_calibration.py`")


@pitfall(56, "a model fetched from a moving branch", "a scorer card with revision `main`", "the card is refused")
def use_a_moving_branch(bench: Bench) -> None:
    assert_refused(lambda: Scorer(repository="somebody/model", revision="main"), "40 hex digits")


def read_results(folder: Path) -> dict[str, Any]:
    """A fresh copy of a run's results."""
    results: dict[str, Any] = json.loads((folder / "results.json").read_text("utf-8"))
    return results
