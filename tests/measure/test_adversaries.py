"""Adversarial images never lead every metric, and where one leads a metric the report says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layoutmark.cli.main import main
from layoutmark.generate.external import aspect_note
from layoutmark.layout import Canvas
from layoutmark.metrics import HEADLINE_METRICS
from layoutmark.plan.reference_rows import ADVERSARY_TITLES, PASTED
from layoutmark.store import RunFolder


@pytest.fixture(scope="module")
def results(paint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Results of a run of `paint` with adversaries on four samples that have references."""
    folder = tmp_path_factory.mktemp("adversaries")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYOUTMARK_HOME", str(folder / "home"))
        patch.setenv("LAYOUTMARK_RUNS", str(folder / "runs"))
        arguments = ["run", "mini-refs", "--limit", "4", "--methods", "paint", "--name", "a", "--adversaries"]
        assert main([*arguments, "--methods-path", str(paint)]) == 0
    return {**RunFolder(folder / "runs" / "a").read_results(), "page": folder / "runs" / "a" / "report" / "index.html"}


def test_no_adversary_leads_every_metric(results: dict[str, Any]) -> None:
    rows = {(r["method"], r["metric"]): r["value"] for r in results["rows"]}
    for adversary in ADVERSARY_TITLES:
        not_led = [m for m in HEADLINE_METRICS if rows[adversary, m] < rows["ceiling", m]]
        assert not_led, f"{adversary} leads everywhere"
        assert rows[adversary, "ap50"] <= rows["ceiling", "ap50"], adversary


def test_metrics_led_by_an_adversary_are_named_in_results_and_report(results: dict[str, Any]) -> None:
    ahead = {f["metric"]: f for f in results["adversaries_ahead"]}
    assert ahead["dino"]["row"] == PASTED, "nothing is more similar to a reference than itself"
    assert ahead["dino"]["above_ceiling"]
    text = results["page"].read_text("utf-8")
    assert f"<bdi>{PASTED}</bdi> beats every method and the true images on" in text


def test_adversaries_are_left_out_of_comparisons(results: dict[str, Any]) -> None:
    assert {m["name"] for m in results["methods"] if m["kind"] == "reference"} >= set(ADVERSARY_TITLES)
    assert not {p[k] for p in results["pairs"] for k in ("a", "b")} & set(ADVERSARY_TITLES)
    assert not {m for groups in results["ties"].values() for g in groups for m in g} & set(ADVERSARY_TITLES)


def test_an_image_of_another_shape_than_its_canvas_gets_a_note() -> None:
    assert aspect_note(np.zeros((512, 512, 3), np.uint8), Canvas(64, 64)) == {}
    assert aspect_note(np.zeros((427, 640, 3), np.uint8), Canvas(320, 213)) == {}, "rounding"
    note = aspect_note(np.zeros((512, 512, 3), np.uint8), Canvas(640, 427))
    assert note == {"stretched": "an image of 512 x 512 for a canvas of 640 x 427"}
