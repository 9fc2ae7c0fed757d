"""The parts of the page that say how far numbers carry: cost, leakage, calibration, published figures."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def results(example: ModuleType) -> Any:
    return example.make_results(None, samples=24, hostile=False)


def test_cost_needs_times_and_draws_what_is_known(part: Any, results: Any) -> None:
    view = part("results").Results
    assert part("cost").figures(view(results)) == []
    line = [{"instances": n, "images": 3, "seconds": 0.5 * n, "peak_bytes": None, "memory": None} for n in (1, 2)]
    results["times"] = {"cost": {"ilgd": line}}
    assert [caption for caption, _ in part("cost").figures(view(results))] == [
        "Seconds an image, by number of instances"
    ]
    for known in line:
        known |= {"peak_bytes": 2**30, "memory": "cuda"}
    captions = [caption for caption, _ in part("cost").figures(view(results))]
    assert "of the cuda" in captions[1]


def test_a_value_that_asks_for_care_says_why(part: Any, results: Any) -> None:
    results["rows"][0]["caution"] = "noisy: 24 pictures"
    view = part("results").Results(results)
    metric = view.metrics[results["rows"][0]["metric"]]
    assert part("table").turned(view, [metric], "x").count("noisy: 24 pictures") == 1


def test_what_drew_the_pictures_is_told(part: Any, results: Any) -> None:
    view = part("results").Results
    assert "Drawn on" not in part("sections").footnotes(view(results))
    results["times"] = {"drawn_on": {"base": {"A processor, 2 threads": 24}, "ilgd": {"A GPU": 20, "unknown": 4}}}
    page = part("sections").footnotes(view(results))
    assert "A processor, 2 threads: 24 images<" in page
    assert "A GPU: 20 images; unknown: 4 images (pixels of different devices may differ by rounding)" in page


def test_leakage_is_drawn_for_rows_that_have_any(part: Any, results: Any) -> None:
    view = part("results").Results
    assert part("leakage").figures(view(results)) == []
    cell = {"categories": ["dog", "cat"], "own": [[0.9, 4], [0.7, 2]], "left_out": 3,
            "others": [[[None, 0], [0.1, 4]], [[0.3, 2], [None, 0]]]}  # fmt: skip
    results["leakage"] = {"dino": {"ilgd": cell}}
    [(caption, svg)] = part("leakage").figures(view(results))
    assert "own 0.833" in caption  # weighted by how many places stand behind each cell
    assert "others' 0.167" in caption
    assert "3 places of rarer categories left out" in caption
    assert ">90<" in svg


def test_true_images_flag_what_the_detector_hardly_sees(part: Any, results: Any) -> None:
    metric = {**results["metrics"][0], "name": "recall50", "title": "Targets hit"}
    results["metrics"].append(metric)
    for image in results["images"]:
        targets = next(s for s in results["samples"] if s["id"] == image["sample"])["instances"]
        for target in targets:
            scores = image["instances"].setdefault(target["id"], {})
            scores["recall50"] = 0.0 if target["category"] == "dog" else 1.0
    page = part("calibration").calibration(part("results").Results(results))
    rows = {row.split("</th>")[0].split("<bdi>")[-1].split("<")[0]: row for row in page.split("<tr>")}
    assert "hardly seen" in rows["dog"]
    assert page.count("hardly seen") == 1


def test_a_true_image_counts_once_whatever_the_seeds(part: Any, results: Any) -> None:
    view = part("results").Results
    once = part("calibration").calibration(view(results))
    again = [{**image, "seed": image["seed"] + 1} for image in results["images"]]
    results["images"] += again
    assert "<h3>What the scorers see on true images</h3>" in once
    assert part("calibration").calibration(view(results)) == once


def test_scores_between_floor_and_ceiling_are_those_of_the_results(part: Any, results: Any) -> None:
    view, module = part("results").Results, part("calibration")
    assert "between floor and ceiling" not in module.calibration(view(results))
    row = next(r for r in results["rows"] if (r["method"], r["metric"]) == ("ilgd", "ap50"))
    row["normalised"] = 0.4321
    page = module.calibration(view(results)).split("<h3>Scores between floor and ceiling</h3>")[1]
    assert "<td>0.432</td>" in page
    assert page.count("not scored") == len(view(results).methods) - 1


def test_published_figures_are_compared_only_where_all_is_the_same(part: Any, results: Any) -> None:
    stated = {"metric": "ap50", "value": 0.6, "suite": "coco", "stack": "sd15", "scorer": "yolo", "presets": [""],
              "source": "Table 1", "note": "<b>"}  # fmt: skip
    method = next(m for m in results["methods"] if m["name"] == "ilgd")
    method["published"] = [stated]
    page = part("published").published(part("results").Results(results))
    assert "not comparable" in page
    assert "suite: coco, here mini; stack: sd15, here mini; scorer: yolo" in page
    assert "&lt;b&gt;" in page
    method["published"] = [{**stated, "suite": "mini", "stack": "mini", "scorer": "mini-yolo@1", "value": value}
                           for value in (0.55, 0.9, 0.1)]  # fmt: skip
    page = part("published").published(part("results").Results(results))
    assert ["agrees" in page, "ours is lower" in page, "ours is higher" in page] == [True] * 3
