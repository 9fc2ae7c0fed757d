"""Sections of the page on the limits of the scores: cost, leakage, calibration, published figures."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def results(example: ModuleType) -> Any:
    return example.make_results(None, samples=24, hostile=False)


def test_cost_figures_need_recorded_times(report_module: Any, results: Any) -> None:
    view, cost_figures = report_module("results").Results, report_module("cost").cost_figures
    assert cost_figures(view(results)) == []
    records = [{"instances": n, "images": 3, "seconds": 0.5 * n, "peak_bytes": None, "memory": None} for n in (1, 2)]
    results["times"] = {"cost": {"ilgd": records}}
    assert [figure.title for figure in cost_figures(view(results))] == ["Seconds per image, by number of instances"]
    for record in records:
        record |= {"peak_bytes": 2**30, "memory": "cuda"}
    assert cost_figures(view(results))[1].note == "of the cuda"


def test_a_caution_stands_below_its_score(render_section: Any, results: Any) -> None:
    row = next(r for r in results["rows"] if (r["method"], r["metric"]) == ("ilgd", "extra_rate"))
    row["caution"] = "noisy: 24 images"
    assert render_section("other_scores.html", results).count("noisy: 24 images") == 1


def test_devices_are_listed_in_the_notes(render_section: Any, results: Any) -> None:
    assert "Generated on" not in render_section("notes.html", results)
    results["times"] = {"drawn_on": {"base": {"A processor, 2 threads": 24}, "ilgd": {"A GPU": 20, "unknown": 4}}}
    html = render_section("notes.html", results)
    assert "A processor, 2 threads: 24 images<" in html
    assert "A GPU: 20 images; unknown: 4 images (pixels of different devices may differ by rounding)" in html


def test_leakage_is_plotted_for_rows_with_data(report_module: Any, results: Any) -> None:
    view, leakage_figures = report_module("results").Results, report_module("leakage").leakage_figures
    assert leakage_figures(view(results)) == []
    matrix = {"categories": ["dog", "cat"], "own": [[0.9, 4], [0.7, 2]], "left_out": 3,
              "others": [[[None, 0], [0.1, 4]], [[0.3, 2], [None, 0]]]}  # fmt: skip
    results["leakage"] = {"dino": {"ilgd": matrix}}
    [figure] = leakage_figures(view(results))
    assert "own 0.833" in figure.note  # weighted by the number of targets in each cell
    assert "others' 0.167" in figure.note
    assert "3 targets of rarer categories left out" in figure.note
    assert ">90<" in figure.svg


def test_rarely_detected_categories_are_flagged(render_section: Any, results: Any) -> None:
    results["metrics"].append({**results["metrics"][0], "name": "recall50", "title": "Targets hit"})
    for image in results["images"]:
        targets = next(s for s in results["samples"] if s["id"] == image["sample"])["instances"]
        for target in targets:
            scores = image["instances"].setdefault(target["id"], {})
            scores["recall50"] = 0.0 if target["category"] == "dog" else 1.0
    html = render_section("calibration.html", results)
    rows = {row.split("</th>")[0].split("<bdi>")[-1].split("<")[0]: row for row in html.split("<tr>")}
    assert "rarely detected" in rows["dog"]
    assert html.count("rarely detected") == 1


def test_a_true_image_counts_once_for_any_number_of_seeds(render_section: Any, results: Any) -> None:
    one_seed = render_section("calibration.html", results)
    results["images"] += [{**image, "seed": image["seed"] + 1} for image in results["images"]]
    assert "<h3>Scores on true images</h3>" in one_seed
    assert render_section("calibration.html", results) == one_seed


def test_normalised_scores_are_those_of_the_results(render_section: Any, results: Any) -> None:
    assert "between floor and ceiling" not in render_section("calibration.html", results)
    row = next(r for r in results["rows"] if (r["method"], r["metric"]) == ("ilgd", "ap50"))
    row["normalised"] = 0.4321
    html = render_section("calibration.html", results).split("<h3>Scores between floor and ceiling</h3>")[1]
    assert "<td>0.432</td>" in html
    assert html.count("not scored") == sum(m["kind"] == "method" for m in results["methods"]) - 1


def test_published_figures_are_compared_only_in_the_same_setup(render_section: Any, results: Any) -> None:
    figure = {"metric": "ap50", "value": 0.6, "suite": "coco", "stack": "sd15", "scorer": "yolo", "presets": [""],
              "source": "Table 1", "note": "<b>"}  # fmt: skip
    method = next(m for m in results["methods"] if m["name"] == "ilgd")
    method["published"] = [figure]
    html = render_section("published.html", results)
    assert "not comparable" in html
    assert "suite: coco, here mini; stack: sd15, here mini; scorer: yolo" in html
    assert "&lt;b&gt;" in html
    method["published"] = [{**figure, "suite": "mini", "stack": "mini", "scorer": "mini-yolo@1", "value": value}
                           for value in (0.55, 0.9, 0.1)]  # fmt: skip
    html = render_section("published.html", results)
    assert ["agrees" in html, "ours is lower" in html, "ours is higher" in html] == [True] * 3
