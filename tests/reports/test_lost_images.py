"""Every report shows the mean without lost images, and its value if they had scored worst."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from layoutmark.report import write_report

HEADLINE = ("ap50", "miou", "clip_i", "dino", "clip_t", "clip_iqa")
PATTERNS = {
    "html": r'<small class="worst">(\S+) if lost = worst</small>',
    "markdown": r"; (\S+) if lost = worst",
    "latex": r"\((\S+) if lost = worst\)",
}


def worst_values(kind: str, results: Any, folder: Path) -> list[str]:
    """Values of the headline metrics with lost images as worst, in the order of the text."""
    text = write_report(results, folder, kind, out=folder / kind).read_text("utf-8")
    if kind == "html":
        text = text[text.index('<table class="scores"') : text.index("</table>")]
    return [n.replace("\u2212", "-").replace("$-$", "-") for n in re.findall(PATTERNS[kind], text)]


@pytest.mark.parametrize("kind", PATTERNS)
def test_both_means_are_reported(kind: str, example: ModuleType, tmp_path: Path) -> None:
    results = example.make_results(None, hostile=False)
    rows = [r for r in results["rows"] if r["metric"] in HEADLINE]
    expected = [f"{r['worst']:.3f}" for r in rows if r["worst"] != r["value"]]
    assert len(expected) > 10
    assert len({r["method"] for r in rows if r["worst"] != r["value"]}) == 3, "the methods that lost an image"
    assert sorted(worst_values(kind, results, tmp_path)) == sorted(expected)
    assert all(r["worst"] < r["value"] for r in rows if r["worst"] != r["value"])


@pytest.mark.parametrize("kind", PATTERNS)
def test_only_one_mean_is_reported_if_no_image_is_lost_or_the_other_is_unknown(
    kind: str, example: ModuleType, tmp_path: Path
) -> None:
    results = example.make_results(None, hostile=False)
    unknown, older = copy.deepcopy(results), copy.deepcopy(results)
    for row in results["rows"]:
        row["worst"] = row["value"]
    for row in unknown["rows"]:
        row["worst"] = None
    for row in older["rows"]:
        del row["worst"]
    for number, data in enumerate((results, unknown, older)):
        assert worst_values(kind, data, tmp_path / str(number)) == []


def test_a_method_without_any_image_has_only_the_worst_value(example: ModuleType, tmp_path: Path) -> None:
    results = example.make_results(None, hostile=False)
    row = next(r for r in results["rows"] if (r["method"], r["metric"]) == ("ilgd", "clip_i"))
    row |= {"value": None, "low": None, "high": None, "n": 0, "unscored": {"<i>failed": row["of"]}, "worst": -1.0}
    page = write_report(results, tmp_path).read_text("utf-8")
    reason = "not scored<small>12 <bdi>&lt;i&gt;failed</bdi></small>"
    assert f'{reason}<small class="worst">\u22121.000 if lost = worst</small>' in page
    assert "0 of 12 scored. 12 <bdi>&lt;i&gt;failed</bdi>. \u22121.000 if lost images had scored worst." in page
    assert "; -1.000 if lost = worst" in write_report(results, tmp_path, "markdown", out=tmp_path).read_text("utf-8")


def test_text_in_place_of_the_number_is_not_rendered(example: ModuleType, tmp_path: Path) -> None:
    results = example.make_results(None, hostile=False)
    for row in results["rows"]:
        row["worst"] = example.SCRIPT
    page = write_report(results, tmp_path).read_text("utf-8")
    assert example.SCRIPT not in page
    assert "if lost = worst" not in page
