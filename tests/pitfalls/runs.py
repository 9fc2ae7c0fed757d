"""Pitfalls 40 to 56: sampling, records and comparison."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from layoutmark.compare import all_ties, compare_runs
from layoutmark.conformance import CHECKS, Outcome, candidate_of, run_check
from layoutmark.doctor import questions
from layoutmark.doctor.runner import answer
from layoutmark.evidence import Evidence
from layoutmark.generate.generation import generate
from layoutmark.leaderboard.rules import faults_of
from layoutmark.metrics import all_metrics, summarise
from layoutmark.plan.jobs import jobs
from layoutmark.plan.plan import Plan, find_row, make_plan
from layoutmark.provenance import protocol_hash
from layoutmark.registry.card_types import Scorer
from layoutmark.score import Status
from layoutmark.statistics import mean_interval
from layoutmark.store import RunFolder, Store, feature_key, image_key
from layoutmark.suites.opening import open_suite
from registry import Bench, expect, not_injected, pitfall, refused


@pitfall(40, "one seed for the whole process", "a method that draws from the process's generator", "`methods check`")
def process_seed(bench: Bench) -> None:
    import torch

    entry = bench.registry.get_method("paint")
    adapter: Any = entry.load()

    def paint(self: Any, layout: Any, prompt: str, seed: int) -> Any:
        return torch.randint(0, 60, (3, 64, 64), dtype=torch.uint8)

    bench.patch.setattr(adapter.Paint, "paint", paint)
    expect(run_check(CHECKS["same_seed_same_picture"], candidate_of(entry, "tiny")).outcome is Outcome.FAILED)


@pitfall(41, "batch size changes the picture", "a method that looks at its batch", "`methods check`")
def by_company(bench: Bench) -> None:
    entry, rule = bench.registry.get_method("paint"), CHECKS["batch_and_order_do_not_matter"]
    adapter: Any = entry.load()
    assert run_check(rule, candidate_of(entry, "tiny")).outcome is Outcome.PASSED
    alone = adapter.Paint.generate

    def generate(self: Any, layouts: Any, *rest: Any, **named: Any) -> Any:
        return alone(self, layouts, *rest, **named) // 2 + 8 * len(layouts)

    bench.patch.setattr(adapter.Paint, "generate", generate)
    expect(run_check(rule, candidate_of(entry, "tiny")).outcome is Outcome.FAILED)


def _made(bench: Bench, **settings: Any) -> list[Mapping[str, Any]]:
    """Records of `paint` with these settings on two samples."""
    plan = make_plan(bench.registry, suite="mini", stack="mini", methods=["paint"], limit=2)
    row = find_row(plan, "paint")
    plan = dataclasses.replace(plan, rows=(dataclasses.replace(row, settings={**row.settings, **settings}),))
    suite, store = _suite(bench, plan), Store(bench.folder / "store")
    generate(plan, suite, bench.registry, store, "cpu", lambda *_: None)
    return [store.record(j.key) or {} for j in jobs(plan, suite, plan.rows[0])]


def _suite(bench: Bench, plan: Plan) -> Any:
    return open_suite(bench.registry, plan.suite, bench.registry.get_stack(plan.stack), plan.limit)


@pitfall(42, "blanked pictures dropped", "a safety filter that blanks every picture", "status `filtered`, counted")
def filtered(bench: Bench) -> None:
    expect([r["status"] for r in _made(bench, fault="filtered")] == ["filtered"] * 2)


@pitfall(43, "NaN and black pictures", "a method that gives constant pictures, and one that gives floats",
         "status `degenerate`; refused")  # fmt: skip
def degenerate(bench: Bench) -> None:
    expect([r["status"] for r in _made(bench, fault="constant")] == ["degenerate"] * 2)
    found = _made(bench, fault="floats")
    expect({r["status"] for r in found} == {"failed"} and "float32" in found[0]["reason"])


def _facts(**changes: Any) -> dict[str, Any]:
    row = {"counts": {"requested": 1}, "settings": {"steps": 50}, "kind": "method", "preset": "", "deviations": [1]}
    return {"row": {**row, **changes.pop("row", {})}, "overrides": [], "because": "", "track": "matched", **changes}


IMAGE: Mapping[str, Any] = {"notes": {}}


@pitfall(44, "methods with settings of their own in one table", "50 steps on a track that says 25",
         "rules of the board")  # fmt: skip
def unmatched(bench: Bench) -> None:
    expect(faults_of(_facts(), [IMAGE], {"steps": 50}) == [])
    expect(faults_of(_facts(), [IMAGE], {"steps": 25}) == ["not matched: steps"])


def _changed(bench: Bench, change: Any) -> RunFolder:
    """A copy of the tiny run with its results changed."""
    import shutil

    shutil.copytree(bench.tiny.folder, bench.folder / "other", dirs_exist_ok=True)
    data = copy.deepcopy(bench.tiny.results())
    change(data)
    (bench.folder / "other" / "results.json").write_text(json.dumps(data, sort_keys=True), "utf-8")
    return RunFolder(bench.folder / "other")


def _compared(bench: Bench, other: RunFolder) -> Any:
    return compare_runs([("one", RunFolder(bench.tiny.folder), "paint"), ("two", other, "paint")])


@pitfall(45, "seeds differ between methods", "a run with another seed", "protocol hash; compare refuses")
def other_seeds(bench: Bench) -> None:
    def change(data: dict[str, Any]) -> None:
        parts = data["protocol"]["parts"]
        parts["seeds"] = [1]
        data["protocol"]["hash"] = protocol_hash(parts)

    refused(lambda: _compared(bench, _changed(bench, change)), "seeds differ")


@pitfall(46, "the best of several seeds, or a hand-picked one", "an entry without one of its images",
         "rules of the board: incomplete")  # fmt: skip
def picked(bench: Bench) -> None:
    facts = _facts(row={"counts": {"requested": 2, "missing": 1}})
    expect(any("incomplete" in f for f in faults_of(facts, [IMAGE, IMAGE], {"steps": 50})))
    expect(any("incomplete" in f for f in faults_of(_facts(row={"counts": {"requested": 2}}), [IMAGE], {"steps": 50})))


@pitfall(47, "repeated prompts counted as independent", "every image twice", "clusters by prompt; doctor counts them")
def twice(bench: Bench) -> None:
    values, prompts = [0.1, 0.4, 0.6, 0.9], ["a", "b", "c", "d"]
    once, again = mean_interval(values, prompts), mean_interval(values * 2, prompts * 2)
    apart = mean_interval(values * 2, [*prompts, "e", "f", "g", "h"])
    assert once is not None
    assert again is not None
    assert apart is not None
    expect(abs((again.high - again.low) - (once.high - once.low)) < 1e-12)
    expect(apart.high - apart.low < 0.8 * (once.high - once.low), "independent ones would tell more")
    _, detail = answer(questions()["duplicate prompts"], bench.ward)
    expect(detail.startswith(f"{len(bench.ward.suite.samples) - len({s.prompt for s in bench.ward.suite.samples})} "))


@pitfall(48, "missing images dropped", "one image of three gone", "n of N, and the reason counted")
def gone(bench: Bench) -> None:
    (metric,) = [m for m in all_metrics({"detector": "d"}) if m.info.name == "miou"]
    sample = bench.ward.suite.samples[0]
    from layoutmark.evidence import Detections

    seen = Detections(sample.layout.boxes(), np.ones(len(sample.layout.instances)),
                      tuple(i.category for i in sample.layout.instances))  # fmt: skip
    there = [Evidence(sample, k, Status.OK, detections=seen) for k in range(2)]
    found = summarise(metric, [*there, Evidence(sample, 2, Status.MISSING, "not in the store")])
    expect((found.n, found.of, dict(found.unscored)) == (2, 3, {"missing": 1}))


@pitfall(49, "exceptions swallowed", "a method that raises", "status `failed` with its text, `--fail-above`")
def swallowed(bench: Bench) -> None:
    found = _made(bench, fault="raises")
    expect({r["status"] for r in found} == {"failed"} and "no paint left" in found[0]["reason"])


@pitfall(50, "a repeated run appends", "an image and its record put twice", "keyed store: the later one stands")
def appended(bench: Bench) -> None:
    store, picture = Store(bench.folder / "twice"), np.zeros((4, 4, 3), np.uint8)
    for status in ("ok", "filtered"):
        store.put_image("k" * 64, picture, {"status": status})
    expect((store.record("k" * 64) or {})["status"] == "filtered" and len(store.records(["k" * 64])) == 1)


@pitfall(51, "a cache that does not know its model", "each part of a key changed alone", "another key each time")
def stale(bench: Bench) -> None:
    plain: dict[str, Any] = {"pixels": "p", "extractor": "e", "weights": "w", "settings": {"code": "c"}}
    changes: list[dict[str, Any]] = [
        {"pixels": "q"}, {"extractor": "f"}, {"weights": "v"}, {"settings": {"code": "d"}}
    ]  # fmt: skip
    expect(len({feature_key(**{**plain, **c}) for c in ({}, *changes)}) == 5)
    sample = bench.ward.suite.samples[0]
    whole: dict[str, Any] = {
        "method": "m", "code": "c", "weights": "w", "settings": {}, "sample": sample, "references": "r", "seed": 1,
        "stack": "s",
    }  # fmt: skip
    other: dict[str, Any] = {
        "method": "n", "code": "d", "weights": "v", "settings": {"a": 1}, "sample": bench.ward.suite.samples[1],
        "references": "q", "seed": 2, "stack": "t",
    }  # fmt: skip
    expect(len({image_key(**{**whole, k: v}) for k, v in other.items()} | {image_key(**whole)}) == 1 + len(other))


@pitfall(52, "results of other versions compared", "another digest of the metrics' code", "compare refuses")
def other_version(bench: Bench) -> None:
    def change(data: dict[str, Any]) -> None:
        parts = data["protocol"]["parts"]
        parts["code"]["metrics"] = "0" * 64
        data["protocol"]["hash"] = protocol_hash(parts)

    refused(lambda: _compared(bench, _changed(bench, change)), "code differ")


@pitfall(53, "neighbours ranked without a difference", "two methods 0.001 apart, p 0.5", "one tie group")
def neighbours(bench: Bench) -> None:
    (metric,) = [m for m in all_metrics({"detector": "d"}) if m.info.name == "miou"]
    rows = [{"method": m, "metric": "miou", "value": v} for m, v in (("a", 0.501), ("b", 0.5), ("c", 0.1))]
    pairs = [
        {"a": a, "b": b, "metric": "miou", "p_holm": p}
        for a, b, p in (("a", "b", 0.5), ("a", "c", 0.001), ("b", "c", 0.001))
    ]
    expect(all_ties(rows, pairs, ["a", "b", "c"], [metric])["miou"] == [["a", "b"], ["c"]])


not_injected(54, "weights of an overall score", "there is no overall score")
not_injected(55, "a gate that fails on noise", "a rate, not a fault: simulated in `tests/validity/gate_calibration.py`")


@pitfall(56, "a model fetched by a moving branch", "a scorer's card with revision `main`", "the card is refused")
def moving(bench: Bench) -> None:
    refused(lambda: Scorer(repository="somebody/model", revision="main"), "40 hex digits")


def results_of(folder: Path) -> dict[str, Any]:
    """A fresh copy of a run's results."""
    found: dict[str, Any] = json.loads((folder / "results.json").read_text("utf-8"))
    return found
