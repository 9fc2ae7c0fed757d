"""Layout scores of methods that read no layout are marked in every report."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from layoutmark.report import print_table, write_report
from layoutmark.score import controls_layout, measures_layout


@pytest.fixture
def results(example: ModuleType) -> Any:
    """Results in which only `base` reads no layout."""
    results = example.make_results(None, samples=4, hostile=False)
    assert [m["name"] for m in results["methods"] if not controls_layout(m)] == ["base"]
    return results


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ap50", True), ("ap", True), ("ap_small", True), ("ar", True), ("miou_oracle", True), ("recall50", True),
     ("mask_miou", True), ("point_in_box", True), ("success_rate", True), ("clip_i", False), ("dino", False),
     ("clip_t", False), ("clip_iqa", False), ("contrast", False), ("apples", False), ("targets_sound", False)],
)  # fmt: skip
def test_which_metrics_measure_layout(name: str, expected: bool) -> None:
    assert measures_layout(name) is expected


@pytest.mark.parametrize(
    ("kind", "inputs", "expected"),
    [("method", ["prompt", "phrases", "references"], False), ("method", ["prompt", "masks"], True),
     ("method", ["scribbles"], True), ("reference", ["prompt"], True), ("outside", [], True), ("method", [], True)],
)  # fmt: skip
def test_which_methods_control_layout(kind: str, inputs: list[str], expected: bool) -> None:
    assert controls_layout({"kind": kind, "inputs": inputs}) is expected


def test_the_page_marks_both_cells_of_the_row(results: Any, tmp_path: Path) -> None:
    page = write_report(results, tmp_path).read_text("utf-8")
    table = page[page.index('<table class="scores"') : page.index("</table>")]
    rows = {row.split("</bdi>")[0]: row.count("not controlled") for row in table.split('<th scope="row"><bdi>')[1:]}
    assert rows.pop("base") == 2
    assert set(rows.values()) == {0}
    assert "Layout not controlled by <bdi>base</bdi>: no boxes, masks, points or scribbles are read." in page


def test_markdown_latex_and_figures_mark_uncontrolled_methods(results: Any, tmp_path: Path) -> None:
    lines = write_report(results, tmp_path, "markdown", out=tmp_path).read_text("utf-8").splitlines()
    assert {line.split(" | ")[0]: line.count("(not controlled)") for line in lines if "(not controlled)" in line} == {
        "| base": 2
    }
    assert any(line.startswith("Not controlled (no layout is read): base.") for line in lines)
    tex = write_report(results, tmp_path, "latex", out=tmp_path).read_text("utf-8")
    assert {line.split(" & ")[0]: line.count(r"\dag{}") for line in tex.splitlines() if r"\,\dag{} &" in line} == {
        "base": 2
    }
    assert r"\dag{}\,Layout not controlled" in tex
    assert "\u2020 layout not controlled" in write_report(results, tmp_path, "figures", out=tmp_path).read_text("utf-8")
    svg = (tmp_path / "intervals.svg").read_text("utf-8")
    assert re.findall(r"<!-- (.+) \u2020 -->", svg) == ["base"]


@pytest.mark.parametrize("terminal", [True, False])
def test_terminal_table_marks_uncontrolled_methods(results: Any, terminal: bool) -> None:
    console = Console(record=True, force_terminal=terminal, width=200, file=io.StringIO())
    print_table(results, console)
    assert console.export_text().count("not controlled") == 2


def test_nothing_is_marked_if_all_methods_read_boxes(results: Any, tmp_path: Path) -> None:
    for method in results["methods"]:
        method["inputs"] = ["prompt", "boxes"]
    for kind in ("html", "markdown", "latex", "figures"):
        text = write_report(results, tmp_path, kind, out=tmp_path).read_text("utf-8").lower()
        assert "not controlled by" not in text
        assert "dag" not in text.replace("dagger", "dag") or kind == "html"
        assert "\u2020" not in text
