"""Pictures that obey nothing lead no table, and where one leads a column it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layoutmark.cli.main import main
from layoutmark.generate.external import stretched
from layoutmark.layout import Canvas
from layoutmark.metrics import HEADLINE
from layoutmark.plan.reference_rows import ADVERSARIES, PASTED
from layoutmark.store import RunFolder


@pytest.fixture(scope="module")
def found(paint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run of `paint` on four scenes with portraits, adversaries beside it."""
    folder = tmp_path_factory.mktemp("adversaries")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYOUTMARK_HOME", str(folder / "home"))
        patch.setenv("LAYOUTMARK_RUNS", str(folder / "runs"))
        line = ["run", "mini-refs", "--limit", "4", "--methods", "paint", "--name", "a", "--adversaries"]
        assert main([*line, "--methods-path", str(paint)]) == 0
    return {**RunFolder(folder / "runs" / "a").read_results(), "page": folder / "runs" / "a" / "report" / "index.html"}


def test_no_adversary_leads_a_whole_table(found: dict[str, Any]) -> None:
    rows = {(r["method"], r["metric"]): r["value"] for r in found["rows"]}
    for trick in ADVERSARIES:
        behind = [m for m in HEADLINE if rows[trick, m] < rows["ceiling", m]]
        assert behind, f"{trick} leads everywhere"
        assert rows[trick, "ap50"] <= rows["ceiling", "ap50"], trick


def test_a_column_that_one_leads_is_named_beside_table_and_report(found: dict[str, Any]) -> None:
    ahead = {f["metric"]: f for f in found["adversaries_ahead"]}
    assert ahead["dino"]["row"] == PASTED, "nothing is nearer to a reference than itself"
    assert ahead["dino"]["above_ceiling"]
    text = found["page"].read_text("utf-8")
    assert f"<bdi>{PASTED}</bdi> leads every method and the true images on" in text


def test_rows_that_obey_nothing_take_no_part_in_comparisons(found: dict[str, Any]) -> None:
    assert {m["name"] for m in found["methods"] if m["kind"] == "reference"} >= set(ADVERSARIES)
    assert not {p[k] for p in found["pairs"] for k in ("a", "b")} & set(ADVERSARIES)
    assert not {m for groups in found["ties"].values() for g in groups for m in g} & set(ADVERSARIES)


def test_a_picture_of_another_shape_than_its_canvas_has_a_note() -> None:
    assert stretched(np.zeros((512, 512, 3), np.uint8), Canvas(64, 64)) == {}
    assert stretched(np.zeros((427, 640, 3), np.uint8), Canvas(320, 213)) == {}, "rounding"
    told = stretched(np.zeros((512, 512, 3), np.uint8), Canvas(640, 427))
    assert told == {"stretched": "a picture of 512 x 512 for a canvas of 640 x 427"}
