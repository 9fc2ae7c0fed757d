"""Extra scorers in a run: computed once, stored, read again without any model, and reported under their own names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layoutmark.features.scorers import Scorers
from layoutmark.measure.collect import collect_evidence
from layoutmark.measure.results import scorer_names
from layoutmark.metrics import HEADLINE_METRICS, all_metrics, summarise_metric
from layoutmark.plan.plan import read_plan
from layoutmark.registry import Registry
from layoutmark.registry.card_types import Scorer
from layoutmark.store import Store
from layoutmark.suites.opening import open_suite

from .test_encoders import vit_folder
from .tiny_weights import save_owl

EXTRA_METRICS = (
    "ap50_second", "ap_second", "miou_second", "recall50_second", "detector_agreement", "dinov2", "dinov2_detected",
    "clip_again_i", "clip_again_i_detected", "clip_again_t", "quality_again",
)  # fmt: skip


@pytest.fixture
def extra_run(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    monkeypatch.setenv("LAYOUTMARK_HOME", str(tmp_path / "home"))
    registry = Registry([tiny.methods])
    stack = registry.get_stack("mini")
    extra_scorers = {
        "second_detector": Scorer(
            engine="owlv2", folder=str(save_owl(tmp_path / "owl", 64, 8)), settings={"image_size": 64}
        ),
        "dinov2": Scorer(engine="vit", folder=str(vit_folder(tmp_path / "v2", "dinov2")), settings={"image_size": 48}),
        "clip_again": Scorer(folder="clip"),
        "quality_again": Scorer(folder="clip", settings={"positive": "a bad photo", "negative": "a good photo"}),
    }
    card = replace(stack.card, scorers={**stack.card.scorers, **extra_scorers})
    plan = read_plan(tiny.folder)
    suite = open_suite(registry, plan.suite, stack, plan.limit)
    return plan, suite, card, stack.folder, Store(tiny.home), Scorers(stack.card, stack.folder)


def test_extra_scorers_are_computed_once_and_reported_under_their_names(
    extra_run: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, suite, card, folder, store, plain = extra_run
    no_progress = lambda *_: None  # noqa: E731
    scorers = Scorers(card, folder)
    evidence = collect_evidence(plan, suite, scorers, store, no_progress)["ceiling"]
    names = scorer_names(suite, scorers)
    summaries = {m.info.name: summarise_metric(m, evidence) for m in all_metrics(names)}
    assert set(EXTRA_METRICS) <= set(summaries)
    assert all(summaries[name].requested == len(evidence) for name in EXTRA_METRICS)
    assert {name for name in EXTRA_METRICS if summaries[name].n} >= {
        "dinov2",
        "clip_again_i",
        "clip_again_t",
        "quality_again",
    }
    # The same CLIP under a second name gives the same numbers, and its CLIP-IQA with swapped prompts the complement.
    assert summaries["clip_again_i"].value == summaries["clip_i"].value
    assert summaries["clip_again_t"].value == summaries["clip_t"].value
    assert summaries["quality_again"].value == pytest.approx(1 - (summaries["clip_iqa"].value or 0), abs=1e-6)
    # In this suite the true crops are the references.
    assert summaries["dinov2"].value == pytest.approx(1.0, abs=1e-6)
    for e in evidence:
        assert e.second_detections is not None
        assert set(e.second_detections.labels) <= set(suite.categories)

    usual_metrics = {m.info.name: m for m in all_metrics(scorer_names(suite, plain))}
    before = collect_evidence(plan, suite, plain, store, no_progress)["ceiling"]
    for name in HEADLINE_METRICS:
        assert summarise_metric(usual_metrics[name], before) == summaries[name], (
            "extra scorers do not change the results of the others"
        )

    def fail_if_loaded(self: Scorers, role: str) -> None:
        raise AssertionError(f"a model was loaded: {role}")

    monkeypatch.setattr(Scorers, "_load", fail_if_loaded)
    again = collect_evidence(plan, suite, Scorers(card, folder), store, no_progress)["ceiling"]
    assert {m.info.name: summarise_metric(m, again) for m in all_metrics(names)} == summaries


def test_the_miniature_stack_keeps_the_names_of_its_leaderboards(extra_run: tuple[Any, ...]) -> None:
    *_, plain = extra_run
    assert not [name for name in plain.metric_facts() if "/" in name]
    assert plain.names()["detector"] == "mini-detector 1 (letterbox 128, NMS IoU 0.7, multi-label)"
    assert plain.digests()["dino"] == "90d5e357af6c73755704f803d3df177cc5e93631440ed82d2d557ae3b14bcc5d"
