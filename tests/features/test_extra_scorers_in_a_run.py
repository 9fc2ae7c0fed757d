"""Further scorers in a run: asked once, stored, read again without any model, and shown under their own names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layoutmark.features.scorers import Scorers
from layoutmark.measure.collect import collect
from layoutmark.measure.results import scorer_names
from layoutmark.metrics import HEADLINE, all_metrics, summarise
from layoutmark.plan.plan import read_plan
from layoutmark.registry import Registry
from layoutmark.registry.card_types import Scorer
from layoutmark.store import Store
from layoutmark.suites.opening import open_suite

from .tiny_weights import save_owl
from .test_named_encoders import vit_folder

FURTHER = (
    "ap50_second", "ap_second", "miou_second", "recall50_second", "detector_agreement", "dinov2", "dinov2_detected",
    "clip_again_i", "clip_again_i_detected", "clip_again_t", "quality_again",
)  # fmt: skip


@pytest.fixture
def asked(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    monkeypatch.setenv("LAYOUTMARK_HOME", str(tmp_path / "home"))
    registry = Registry([tiny.methods])
    stack = registry.get_stack("mini")
    further = {
        "second_detector": Scorer(
            engine="owlv2", folder=str(save_owl(tmp_path / "owl", 64, 8)), settings={"image_size": 64}
        ),
        "dinov2": Scorer(engine="vit", folder=str(vit_folder(tmp_path / "v2", "dinov2")), settings={"image_size": 48}),
        "clip_again": Scorer(folder="clip"),
        "quality_again": Scorer(folder="clip", settings={"positive": "a bad photo", "negative": "a good photo"}),
    }
    card = replace(stack.card, scorers={**stack.card.scorers, **further})
    plan = read_plan(tiny.folder)
    suite = open_suite(registry, plan.suite, stack, plan.limit)
    return plan, suite, card, stack.folder, Store(tiny.home), Scorers(stack.card, stack.folder)


def test_they_are_asked_once_and_shown_under_their_names(
    asked: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, suite, card, folder, store, plain = asked
    quiet = lambda *_: None  # noqa: E731
    scorers = Scorers(card, folder)
    evidence = collect(plan, suite, scorers, store, quiet)["ceiling"]
    names = scorer_names(suite, scorers)
    found = {m.info.name: summarise(m, evidence) for m in all_metrics(names)}
    assert set(FURTHER) <= set(found)
    assert all(found[name].of == len(evidence) for name in FURTHER)
    assert {name for name in FURTHER if found[name].n} >= {"dinov2", "clip_again_i", "clip_again_t", "quality_again"}
    # One CLIP under two names gives one number under two names, and its CLIP-IQA turned round the complement.
    assert found["clip_again_i"].value == found["clip_i"].value
    assert found["clip_again_t"].value == found["clip_t"].value
    assert found["quality_again"].value == pytest.approx(1 - (found["clip_iqa"].value or 0), abs=1e-6)
    # True crops are their own references.
    assert found["dinov2"].value == pytest.approx(1.0, abs=1e-6)
    assert all(e.second is not None and set(e.second.labels) <= {c for s in suite.samples for c in suite.categories}
               for e in evidence)  # fmt: skip

    usual = {m.info.name: m for m in all_metrics(scorer_names(suite, plain))}
    before = collect(plan, suite, plain, store, quiet)["ceiling"]
    for name in HEADLINE:
        assert summarise(usual[name], before) == found[name], "further scorers change nothing of the first ones"

    def built(self: Scorers, role: str) -> None:
        raise AssertionError(f"a model was built: {role}")

    monkeypatch.setattr(Scorers, "_load", built)
    again = collect(plan, suite, Scorers(card, folder), store, quiet)["ceiling"]
    assert {m.info.name: summarise(m, again) for m in all_metrics(names)} == found


def test_the_names_of_the_miniature_stack_are_those_of_its_leaderboards(asked: tuple[Any, ...]) -> None:
    *_, plain = asked
    assert not [name for name in plain.facts() if "/" in name]
    assert plain.names()["detector"] == "mini-detector 1 (letterbox 128, NMS IoU 0.7, multi-label)"
    assert plain.digests()["dino"] == "90d5e357af6c73755704f803d3df177cc5e93631440ed82d2d557ae3b14bcc5d"
