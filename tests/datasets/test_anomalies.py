"""Every known anomaly in published files has the expected outcome: repaired, skipped, flagged, kept or refused.

The files and the list of their anomalies are not part of the project.  An anomaly without an expected outcome fails.
"""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layoutmark.api import BuiltSuite
from layoutmark.errors import LayoutmarkError
from layoutmark.ingest.references import CONVERTED_TO_RGB, FIRST_FRAME_TAKEN, load_image, make_reference
from layoutmark.layout import Instance

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
if not (DATA / "anomalies.json").is_file():
    pytest.skip("the shared data files are not available", allow_module_level=True)
FINDINGS = json.loads((DATA / "anomalies.json").read_text("utf-8"))["findings"]
LAYOUTGPT = "layouts/layoutgpt_output/"
MINI, TINY, OF_2014, TOY = (
    "coco/coco_mini_train2017/instances_train2017.json", "coco/coco_tiny/instances_train2017.json",
    "oracles/cocoapi_val2014_100/instances_val2014_100.json",
    "oracles/padilla_toy/gts_coco_format/toy_example_coco.JSON",
)  # fmt: skip
DETECTED = "oracles/padilla_toy/dets_coco_format/coco_dets.json"
Finding = dict[str, Any]
Check = Callable[[Finding], None]


@cache
def build_suite(form: str, path: str, name: str = "") -> BuiltSuite:
    built: BuiltSuite = importlib.import_module(f"layoutmark.datasets.{form}.build").build_suite(
        name or form, DATA / path
    )
    return built


def suite_of(file: str) -> BuiltSuite:
    """The suite built from a file by the reader for its format."""
    if file.startswith(("coco/", "oracles/")) or file == APPLES_COCO:
        return build_suite("coco", file.replace("captions_", "instances_"), "coco-val2017")
    form = file.split("/")[1].replace("instancediffusion", "instancediffusion_demo").replace("_output", "")
    return build_suite(form, "layouts/densediffusion" if form == "densediffusion" else file)


def ids_with(file: str, outcome: str, reason: str) -> set[str]:
    """Ids of the records with this outcome and reason."""
    return {e.id for e in suite_of(file).records if (e.outcome, e.reason) == (outcome, reason)}


def iter_instances(file: str) -> Iterator[Instance]:
    return (instance for sample in suite_of(file).samples for instance in sample.layout.instances)


def each_ends_as(outcome: str, reason: str, get_id: Callable[[Any], str] = str) -> Check:
    """Check that each example's record has this outcome and reason."""

    def check(finding: Finding) -> None:
        file = finding["file"]
        prefix = f"{Path(file).name} " if "nsr1k" in file else ""
        expected_ids = {prefix + get_id(example) for example in finding["examples"]}
        assert expected_ids <= ids_with(file, outcome, reason)

    return check


def count_ends_as(*outcomes: tuple[str, str]) -> Check:
    """Check that as many records as the finding states have one of these outcomes."""

    def check(finding: Finding) -> None:
        assert sum(len(ids_with(finding["file"], *outcome)) for outcome in outcomes) == finding["n"]

    return check


def first_item(example: Any) -> str:
    return str(example[0])


OUTSIDE_OUTCOMES = (("repaired", "box cut at the edge of the canvas"), ("skipped", "box lies outside the canvas"))
outside_boxes_are_clipped_or_skipped = count_ends_as(*OUTSIDE_OUTCOMES)
canvas_boxes_are_flagged = count_ends_as(("flagged", "box covers the whole canvas"))


def labels_are_normalised(finding: Finding) -> None:
    """No label is unchanged, and the repair is recorded."""
    words = {word for i in iter_instances(finding["file"]) for word in (i.phrase, i.category)}
    assert not words & set(finding["examples"])
    assert len(ids_with(finding["file"], "repaired", "label respelt in words")) >= len(finding["examples"])


def both_prompts_are_kept(finding: Finding) -> None:
    texts = [" ".join(e.split()) for e in finding["examples"]]
    prompts = [s.prompt for s in suite_of(finding["file"]).samples]
    assert all(prompts.count(text) > 1 for text in texts)
    assert len(ids_with(finding["file"], "flagged", "prompt text shared with another record")) >= 2 * finding["n"]


def all_images_are_kept(finding: Finding) -> None:
    images = [s.provenance["image"] for s in suite_of(finding["file"]).samples]
    assert all(images.count(f"COCO {e}") > 1 for e in finding["examples"] if e != -1)


def empty_mask_means_no_mask(finding: Finding) -> None:
    """An empty list means that there is no mask; instances without area are skipped anyway."""
    unmasked = [i for i in iter_instances(finding["file"]) if i.mask is None]
    assert len(unmasked) + len(ids_with(finding["file"], "skipped", "box has no area")) == finding["n"]


def category_comes_from_phrase(finding: Finding) -> None:
    assert all(i.category and i.category in i.phrase.lower() for i in iter_instances(finding["file"]))


def phrase_whitespace_is_collapsed(finding: Finding) -> None:
    assert ids_with(finding["file"], "repaired", "stray blanks in a phrase")
    assert all(i.phrase == i.phrase.strip() for i in iter_instances(finding["file"]))


def box_and_mask_are_kept(finding: Finding) -> None:
    """Loose boxes come from the annotators: box and mask are kept as they are, in pixels of the image."""
    instances_by_id = {
        i.id: (i, s.layout.canvas) for s in suite_of(finding["file"]).samples for i in s.layout.instances
    }
    for number, (x, y, w, h), expected_extent, *_ in finding["examples"]:
        instance, canvas = instances_by_id[str(number)]
        x1, y1 = min(x + w, canvas.width), min(y + h, canvas.height)
        np.testing.assert_allclose(instance.box.to_pixels(canvas), [x, y, x1, y1], atol=0.02)
        assert instance.mask is not None
        ys, xs = np.nonzero(instance.mask.to_array())
        assert [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1] == pytest.approx(expected_extent)


def instances_are_kept(finding: Finding) -> None:
    ids = {i.id for i in iter_instances(finding["file"])}
    assert {str(e) for e in finding["examples"]} <= ids


def captions_are_kept(finding: Finding) -> None:
    repaired_ids = {e.id for e in suite_of(finding["file"]).records if e.kind == "caption"}
    data = json.loads((DATA / finding["file"]).read_text("utf-8"))["annotations"]
    ids_with_whitespace = {str(r["id"]) for r in data if r["caption"] != " ".join(r["caption"].split())}
    assert repaired_ids == ids_with_whitespace, "a missing full stop alone is not repaired"


def unused_categories_are_absent(finding: Finding) -> None:
    assert not set(finding["examples"]) & set(suite_of(finding["file"]).categories)


def zero_is_a_valid_id(finding: Finding) -> None:
    assert "0" in {i.id for i in iter_instances(finding["file"])}


def zero_is_a_valid_category(finding: Finding) -> None:
    data = json.loads((DATA / finding["file"]).read_text("utf-8"))
    names = {c["name"] for c in data["categories"] if c["id"] == 0}
    assert names
    assert names <= set(suite_of(finding["file"]).categories) or all(a["category_id"] for a in data["annotations"])


def background_is_left_out(finding: Finding) -> None:
    assert all(i.phrase.strip() for i in iter_instances(finding["file"]))
    assert len(suite_of(finding["file"]).samples) == finding["n"] - 1, "one more has the wrong number of colours"


def segments_are_matched_by_image_id(finding: Finding) -> None:
    """Segments are assigned to images by id: each mask has the area that the file states."""
    data = json.loads((DATA / finding["file"]).read_text("utf-8"))
    areas = {(r["image_id"], s["id"]): s["area"] for r in data["annotations"] for s in r["segments_info"]}
    built = build_suite("coco", finding["file"], "coco-panoptic")
    mask_areas = {
        (int(s.id.rpartition("-")[2]), int(i.id)): int(i.mask.to_array().sum())
        for s in built.samples[:20]
        for i in s.layout.instances
        if i.mask is not None
    }
    assert mask_areas == {key: areas[key] for key in mask_areas}
    assert len(mask_areas) > 100


def image_has_labels_as_stated(finding: Finding) -> None:
    built = build_suite("yolo", str(Path(finding["file"]).parent))
    numbers = {int(s.id.rpartition("-")[2].rpartition("/")[2]) for s in built.samples}
    is_expected = "label file" not in finding["finding"]
    assert all((number in numbers) is is_expected for number in finding["examples"])


def empty_file_is_skipped(finding: Finding) -> None:
    built = build_suite("yolo", str(Path(finding["file"]).parent))
    skipped_names = {e.id.rpartition("/")[2] for e in built.records if e.reason == "no usable instance"}
    assert {Path(e).stem for e in finding["examples"]} <= skipped_names


def missing_images_are_skipped(finding: Finding) -> None:
    records = json.loads((DATA / finding["file"]).read_text("utf-8"))
    built = build_suite("dreambooth", "refs", "dreambench")
    skipped_numbers = {int(e.id) for e in built.records if e.reason == "its picture is not there"}
    assert skipped_numbers == {n for n, r in enumerate(records) if r["image_paths"][0] in finding["examples"]}


def image_is_repaired(repair: str) -> Check:
    def check(finding: Finding) -> None:
        for path, _ in finding["examples"]:
            repairs: list[str] = []
            assert load_image(DATA / path, repairs).shape[2] == 3
            assert repairs == [repair]

    return check


def images_have_equal_content(finding: Finding) -> None:
    for pair in finding["examples"]:
        first_key, second_key = (make_reference(load_image(DATA / path, []), "x").key for path in pair)
        assert first_key == second_key


def is_refused(form: str, name: str, message: str) -> Check:
    def check(finding: Finding) -> None:
        with pytest.raises(LayoutmarkError, match=message):
            build_suite(form, finding["file"], name)

    return check


OPEN_IMAGES = DATA / "openimages"
APPLES_COCO, ROWS, ROTATIONS, BODY_PARTS, HIERARCHY = (
    f"openimages/{name}" for name in (
        "apple_subset/instances2_val2017.json", "apple_subset/validation-annotations-bbox-1.csv",
        "apple_subset/validation-images-with-rotation-2.csv", "body_parts/test-annotations-bbox.csv",
        "bbox_labels_600_hierarchy.json",
    )
)  # fmt: skip


def open_images_suite(finding: Finding) -> BuiltSuite:
    """The suite built from the folder of a table."""
    return build_suite("openimages", str(Path(finding["file"]).parent))


def read_rows(finding: Finding) -> list[dict[str, str]]:
    with (DATA / finding["file"]).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def each_ends_as_one_of(*outcomes: tuple[str, str], get_id: Callable[[Any], Any]) -> Check:
    """Check that each example's record has one of these outcomes."""

    def check(finding: Finding) -> None:
        ids = set().union(*(ids_with(finding["file"], *outcome) for outcome in outcomes))
        assert len(finding["examples"]) == finding["n"]
        assert {str(get_id(example)) for example in finding["examples"]} <= ids

    return check


def instance_is_kept_or_a_crowd(finding: Finding) -> None:
    ids = {i.id for i in iter_instances(finding["file"])} | ids_with(
        finding["file"], "skipped", "a crowd is no single thing"
    )
    assert {str(e) for e in finding["examples"]} <= ids


def huge_ids_are_exact(finding: Finding) -> None:
    image_ids = {str(i["id"]) for i in json.loads((DATA / finding["file"]).read_text("utf-8"))["images"]}
    built = suite_of(finding["file"])
    kept_ids = {s.id.removeprefix("coco-val2017-") for s in built.samples}
    skipped_ids = {e.id for e in built.records if e.kind == "image" and e.outcome == "skipped"}
    assert {str(e) for e in finding["examples"]} <= image_ids
    assert kept_ids | skipped_ids == image_ids, "no digit is lost"


def rows_end_as_one_of(*outcomes: tuple[str, str]) -> Check:
    """Check that rows, counted from 0 after the header or from 1, have one of these outcomes."""

    def check(finding: Finding) -> None:
        name = Path(finding["file"]).name
        records = open_images_suite(finding).records
        lines = {e.id for e in records if (e.outcome, e.reason) in outcomes}
        for number, box in finding["examples"]:
            values = [[float(r[c]) for c in ("XMin", "YMin", "XMax", "YMax")] for r in read_rows(finding)]
            (line,) = [n + 2 for n in (number, number - 1, number - 2) if values[n] == pytest.approx(box)]
            assert f"{name} line {line}" in lines

    return check


def images_end_as(outcome: str, reason: str, get_id: Callable[[Any], str] = str) -> Check:
    def check(finding: Finding) -> None:
        built = open_images_suite(finding)
        ids = {e.id for e in built.records if (e.kind, e.outcome, e.reason) == ("picture", outcome, reason)}
        ids_skipped_otherwise = {e.id for e in built.records if (e.kind, e.outcome) == ("picture", "skipped")} - ids
        assert len(finding["examples"]) == finding["n"]
        assert ids == {get_id(example) for example in finding["examples"]} - ids_skipped_otherwise

    return check


def titles_do_not_matter(finding: Finding) -> None:
    rows = {row["ImageID"]: row for row in read_rows(finding)}
    built = open_images_suite(finding)
    samples_with_unusual_titles = [
        s for s in built.samples if s.id.removeprefix("openimages-") in set(finding["examples"])
    ]
    assert len(samples_with_unusual_titles) > 20
    for sample in samples_with_unusual_titles:
        row = rows[sample.id.removeprefix("openimages-")]
        assert sample.provenance["licence"].startswith(f"picture: {row['License']} ({row['Author']})")
        assert sample.provenance["url"] == row["OriginalURL"]


def names_are_not_unique(finding: Finding) -> None:
    names = importlib.import_module("layoutmark.datasets.openimages.build").read_classes(DATA / finding["file"])
    assert {word for word in finding["examples"] if list(names.values()).count(word) < 2} == set()


def all_parents_are_ancestors(finding: Finding) -> None:
    parents: dict[str, set[str]] = {}

    def walk(node: dict[str, Any]) -> None:
        for child in node.get("Subcategory", []):
            parents.setdefault(child["LabelName"], set()).add(node["LabelName"])
            walk(child)

    walk(json.loads((DATA / finding["file"]).read_text("utf-8")))
    hierarchy = importlib.import_module("layoutmark.datasets.openimages.hierarchy").read_hierarchy(
        DATA / finding["file"]
    )
    for label in finding["examples"]:
        assert parents.get(label, set()) <= set(hierarchy.lineage(label))


def root_has_no_name(finding: Finding) -> None:
    package = "layoutmark.datasets.openimages"
    hierarchy = importlib.import_module(f"{package}.hierarchy").read_hierarchy(DATA / finding["file"])
    names = importlib.import_module(f"{package}.build").read_classes(
        OPEN_IMAGES / "apple_subset/class-descriptions-boxable.csv"
    )
    (root,) = finding["examples"]
    assert root not in names
    assert root not in importlib.import_module(f"{package}.vocabulary").coco_names(names, hierarchy)


def legacy_hierarchy_is_refused(finding: Finding) -> None:
    module = importlib.import_module("layoutmark.datasets.openimages.hierarchy")
    with pytest.raises(LayoutmarkError, match=r"bbox_hierarchy\.json: found a class without 'LabelName'"):
        module.read_hierarchy(DATA / finding["file"])


def scattered_rows_are_grouped_by_image(finding: Finding) -> None:
    image_ids = [row["ImageID"] for row in read_rows(finding)]
    assert any(
        current != following and current in image_ids[k + 2 :]
        for k, (current, following) in enumerate(pairwise(image_ids))
    )
    built = open_images_suite(finding)
    ids = [s.id for s in built.samples]
    assert len(ids) == len(set(ids))
    assert built.counts["rows"] == len(image_ids)
    assert sum(len(s.layout.instances) for s in built.samples) == built.counts["rows"] - built.counts["rows skipped"]


def float_noise_is_kept(finding: Finding) -> None:
    """Numbers are used as they are written."""
    rows = [r for r in read_rows(finding) if r["IsGroupOf"] == "0"]
    listed = {tuple(float(r[c]) for c in ("XMin", "YMin", "XMax", "YMax")) for r in rows}
    kept_boxes = {i.box.xyxy for s in open_images_suite(finding).samples for i in s.layout.instances}
    assert len(kept_boxes - listed) <= 2, "except boxes clipped at the edge"
    assert any(len(str(value)) > 12 for box in kept_boxes for value in box)


boxes_have_no_area = each_ends_as("skipped", "a box has no area", first_item)
scenes_have_no_area = each_ends_as("skipped", "a box has no area")
SPANS_IMAGE = "box spans most of the picture (>=95% each way)"
MASK_EXTENT_DIFFERS = "mask extent differs from bbox by more than 3 px"
STRAY_WHITESPACE = "prompt has leading/trailing space, newline or double space"
stray_whitespace_is_repaired = each_ends_as("repaired", "stray blanks in the prompt")
detections_are_refused = is_refused("coco", "coco-val2017", "found a list; expected an object")
folders_without_labels_are_refused = is_refused("yolo", "yolo", r"found no labels/\*\.txt")
UNUSUAL_LABEL = "label with capital letters, underscore or outer space"
EXPECTED_OUTCOMES: list[tuple[str, str, Check]] = [
    ("layouts/nsr1k/counting", "num_object disagrees", each_ends_as(
        "flagged", "counts in the record do not match its boxes", first_item)),
    ("layouts/nsr1k", "same prompt text", both_prompts_are_kept),
    ("layouts/nsr1k", "same COCO image_id", all_images_are_kept),
    ("layouts/nsr1k", STRAY_WHITESPACE, stray_whitespace_is_repaired),
    ("layouts/nsr1k/spatial", "box: zero width or height", boxes_have_no_area),
    ("layouts/nsr1k/spatial", "box centres contradict", boxes_have_no_area),
    ("layouts/nsr1k/spatial", "placeholder records", scenes_have_no_area),
    (LAYOUTGPT, "box: covers the whole canvas", canvas_boxes_are_flagged),
    (LAYOUTGPT, "box: outside the canvas", outside_boxes_are_clipped_or_skipped),
    (LAYOUTGPT, "no boxes at all", count_ends_as(("skipped", "no usable instance"))),
    (LAYOUTGPT, UNUSUAL_LABEL, labels_are_normalised),
    ("layouts/instancediffusion", "mask is an empty list", empty_mask_means_no_mask),
    ("layouts/instancediffusion", "category_name is an empty string", category_comes_from_phrase),
    ("layouts/instancediffusion", "box: outside the canvas", outside_boxes_are_clipped_or_skipped),
    ("layouts/instancediffusion", "caption empty or with outer space", phrase_whitespace_is_collapsed),
    ("layouts/instancediffusion", "mask extent differs", box_and_mask_are_kept),
    ("layouts/instancediffusion", "box: zero width or height", count_ends_as(("skipped", "box has no area"))),
    ("layouts/densediffusion/testset.pkl", "empty segment description", background_is_left_out),
    ("layouts/densediffusion", "number of distinct colours", each_ends_as(
        "skipped", "not as many colours as descriptions", first_item)),
    ("layouts/attention_refocusing", "box: outside the canvas", outside_boxes_are_clipped_or_skipped),
    ("layouts/attention_refocusing", "name with underscore", labels_are_normalised),
    ("layouts/lmd", "box: outside the canvas", outside_boxes_are_clipped_or_skipped),
    ("refs/uno", "image_paths that have no picture", missing_images_are_skipped),
    ("pictures under coco", "not RGB", image_is_repaired(CONVERTED_TO_RGB)),
    ("pictures under oracles/clip", "not RGB", image_is_repaired(CONVERTED_TO_RGB)),
    ("pictures under refs", "multi-picture JPEG", image_is_repaired(FIRST_FRAME_TAKEN)),
    ("IMAGES", "same bytes under two names", images_have_equal_content),
    *[(file, MASK_EXTENT_DIFFERS, box_and_mask_are_kept) for file in (MINI, TINY, OF_2014)],
    *[(file, SPANS_IMAGE, instances_are_kept) for file in (MINI, TINY, OF_2014)],
    (OF_2014, "categories with no annotation", unused_categories_are_absent),
    ("coco/coco_mini_train2017/captions", "caption with outer white space", each_ends_as("repaired", "stray blanks")),
    ("coco/coco_mini_train2017/captions", "no final full stop", captions_are_kept),
    ("coco/coco128_train2017/panoptic", "annotation order differs", segments_are_matched_by_image_id),
    ("coco/coco128_train2017/yolo_boxes", "labelled picture not in", image_has_labels_as_stated),
    ("coco/coco128_train2017/yolo_boxes", "picture of the panoptic file without", image_has_labels_as_stated),
    ("coco/coco128_train2017/yolo_polygons", "file with no object", empty_file_is_skipped),
    ("coco/transformers_fixture", "box: covers the whole canvas", is_refused(
        "coco", "coco-panoptic", "found a list; expected an object")),
    (TOY, "image without any annotation", each_ends_as("skipped", "no usable instance")),
    *[(file, "annotation id is 0", zero_is_a_valid_id) for file in (TOY, DETECTED)],
    *[(file, "category ids start at 0", zero_is_a_valid_category) for file in (TOY, DETECTED)],
    (TOY, "area disagrees with box", lambda finding: instances_are_kept({**finding, "examples": [8]})),
    (DETECTED, "area disagrees with box",
        lambda f: instances_are_kept({**f, "examples": [e[0] for e in f["examples"]]})),
    (DETECTED, "box: outside the canvas", outside_boxes_are_clipped_or_skipped),
    ("oracles/cocoapi_val2014_100/instances_val2014_fake", "", detections_are_refused),
    (DETECTED, "detection: outside the canvas", outside_boxes_are_clipped_or_skipped),
    ("oracles/padilla_toy/dets_class", "box: outside the canvas", folders_without_labels_are_refused),
    ("oracles/padilla_case1", "published 11-point AP", folders_without_labels_are_refused),
    (APPLES_COCO, "ids larger than 2**53", huge_ids_are_exact),
    (APPLES_COCO, "box: covers the whole canvas", each_ends_as_one_of(
        ("flagged", "box covers the whole canvas"), ("skipped", "a crowd is no single thing"),
        get_id=lambda e: e[0][0])),
    (APPLES_COCO, SPANS_IMAGE, instance_is_kept_or_a_crowd),
    (APPLES_COCO, "categories with no annotation", unused_categories_are_absent),
    (ROWS, "box: covers the whole canvas", rows_end_as_one_of(
        ("flagged", "box covers the whole canvas"), ("skipped", "a group is no single thing"))),
    (ROTATIONS, "non-zero rotation", images_end_as(
        "skipped", "picture is to be turned, and its boxes may not be", first_item)),
    (ROTATIONS, "rotation missing", images_end_as("flagged", "rotation not stated")),
    (ROTATIONS, "title with comma", titles_do_not_matter),
    ("openimages/legacy/dict.csv", "duplicate display name", names_are_not_unique),
    (HIERARCHY, "label under more than one parent", all_parents_are_ancestors),
    (HIERARCHY, "label not in class-descriptions", root_has_no_name),
    ("openimages/legacy/bbox_hierarchy.json", "name under more than one parent", legacy_hierarchy_is_refused),
    (BODY_PARTS, "box: covers the whole canvas", rows_end_as_one_of(
        ("flagged", "box covers the whole canvas"), ("skipped", "a group is no single thing"))),
    (BODY_PARTS, "rows not grouped by image", scattered_rows_are_grouped_by_image),
    (BODY_PARTS, "coordinate with float noise", float_noise_is_kept),
]  # fmt: skip


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda f: f"{f['file']}: {f['finding']}"[:120])
def test_outcome_of_finding(finding: Finding) -> None:
    file, description = finding["file"], finding["finding"]
    checks = [
        check
        for file_prefix, description_prefix, check in EXPECTED_OUTCOMES
        if file.startswith(file_prefix) and description.startswith(description_prefix)
    ]
    assert len(checks) == 1, "each finding has one expected outcome"
    checks[0](finding)


def test_number_of_findings() -> None:
    assert len(FINDINGS) == 92
