"""Every oddity that was found in files of other hands ends as declared: repaired, skipped, flagged, kept or refused.

The files and the list of what is odd in them lie beside the project; a finding that nobody declared fails here.
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
from layoutmark.ingest.references import COLOURS, FRAMES, picture_of, reference_of
from layoutmark.layout import Instance

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
if not (DATA / "anomalies.json").is_file():
    pytest.skip("the gathered files are not beside the checkout", allow_module_level=True)
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
def suite(form: str, place: str, name: str = "") -> BuiltSuite:
    folder: BuiltSuite = importlib.import_module(f"layoutmark.datasets.{form}.build").build_suite(
        name or form, DATA / place
    )
    return folder


def form_of(file: str) -> BuiltSuite:
    """The suite that the reader of a file makes of it."""
    if file.startswith(("coco/", "oracles/")) or file == APPLES:
        return suite("coco", file.replace("captions_", "instances_"), "coco-val2017")
    form = file.split("/")[1].replace("instancediffusion", "instancediffusion_demo").replace("_output", "")
    return suite(form, "layouts/densediffusion" if form == "densediffusion" else file)


def told(file: str, outcome: str, reason: str) -> set[str]:
    """Ids that ended so."""
    return {e.id for e in form_of(file).records if (e.outcome, e.reason) == (outcome, reason)}


def instances(file: str) -> Iterator[Instance]:
    return (instance for sample in form_of(file).samples for instance in sample.layout.instances)


def records(outcome: str, reason: str, id_of: Callable[[Any], str] = str) -> Check:
    """Each example's record ended so."""

    def check(finding: Finding) -> None:
        file = finding["file"]
        head = f"{Path(file).name} " if "nsr1k" in file else ""
        wanted = {head + id_of(example) for example in finding["examples"]}
        assert wanted <= told(file, outcome, reason)

    return check


def counted(*ends: tuple[str, str]) -> Check:
    """As many things as there are findings ended in one of these ways."""

    def check(finding: Finding) -> None:
        assert sum(len(told(finding["file"], *end)) for end in ends) == finding["n"]

    return check


def first(example: Any) -> str:
    return str(example[0])


OUT = (("repaired", "box cut at the edge of the canvas"), ("skipped", "box lies outside the canvas"))
outside = counted(*OUT)
whole = counted(("flagged", "box covers the whole canvas"))


def respelt(finding: Finding) -> None:
    """No label stands as it was, and the repair is told."""
    said = {word for i in instances(finding["file"]) for word in (i.phrase, i.category)}
    assert not said & set(finding["examples"])
    assert len(told(finding["file"], "repaired", "label respelt in words")) >= len(finding["examples"])


def both_prompts_stay(finding: Finding) -> None:
    texts = [" ".join(e.split()) for e in finding["examples"]]
    prompts = [s.prompt for s in form_of(finding["file"]).samples]
    assert all(prompts.count(text) > 1 for text in texts)
    assert len(told(finding["file"], "flagged", "prompt text shared with another record")) >= 2 * finding["n"]


def all_pictures_stay(finding: Finding) -> None:
    images = [s.provenance["image"] for s in form_of(finding["file"]).samples]
    assert all(images.count(f"COCO {e}") > 1 for e in finding["examples"] if e != -1)


def no_mask(finding: Finding) -> None:
    """An empty list says that there is no mask; things without area are gone anyway."""
    bare = [i for i in instances(finding["file"]) if i.mask is None]
    assert len(bare) + len(told(finding["file"], "skipped", "box has no area")) == finding["n"]


def named_by_phrase(finding: Finding) -> None:
    assert all(i.category and i.category in i.phrase.lower() for i in instances(finding["file"]))


def tidied(finding: Finding) -> None:
    assert told(finding["file"], "repaired", "stray blanks in a phrase")
    assert all(i.phrase == i.phrase.strip() for i in instances(finding["file"]))


def box_and_mask_stay(finding: Finding) -> None:
    """Loose boxes are the annotators': both stay as they are, in pixels of the picture."""
    found = {i.id: (i, s.layout.canvas) for s in form_of(finding["file"]).samples for i in s.layout.instances}
    for number, (x, y, w, h), extent, *_ in finding["examples"]:
        instance, canvas = found[str(number)]
        x1, y1 = min(x + w, canvas.width), min(y + h, canvas.height)
        np.testing.assert_allclose(instance.box.pixels(canvas), [x, y, x1, y1], atol=0.02)
        assert instance.mask is not None
        ys, xs = np.nonzero(instance.mask.array())
        assert [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1] == pytest.approx(extent)


def they_stay(finding: Finding) -> None:
    ids = {i.id for i in instances(finding["file"])}
    assert {str(e) for e in finding["examples"]} <= ids


def captions_stay(finding: Finding) -> None:
    touched = {e.id for e in form_of(finding["file"]).records if e.kind == "caption"}
    data = json.loads((DATA / finding["file"]).read_text("utf-8"))["annotations"]
    spaced = {str(r["id"]) for r in data if r["caption"] != " ".join(r["caption"].split())}
    assert touched == spaced, "a missing full stop alone changes nothing"


def not_asked_for(finding: Finding) -> None:
    assert not set(finding["examples"]) & set(form_of(finding["file"]).categories)


def zero_is_an_id(finding: Finding) -> None:
    assert "0" in {i.id for i in instances(finding["file"])}


def zero_is_a_category(finding: Finding) -> None:
    data = json.loads((DATA / finding["file"]).read_text("utf-8"))
    names = {c["name"] for c in data["categories"] if c["id"] == 0}
    assert names
    assert names <= set(form_of(finding["file"]).categories) or all(a["category_id"] for a in data["annotations"])


def background_left_out(finding: Finding) -> None:
    assert all(i.phrase.strip() for i in instances(finding["file"]))
    assert len(form_of(finding["file"]).samples) == finding["n"] - 1, "and one whose colours do not fit"


def one_order_for_all(finding: Finding) -> None:
    """Segments belong to their picture by its id: each mask has the area that the file says."""
    data = json.loads((DATA / finding["file"]).read_text("utf-8"))
    areas = {(r["image_id"], s["id"]): s["area"] for r in data["annotations"] for s in r["segments_info"]}
    made = suite("coco", finding["file"], "coco-panoptic")
    found = {
        (int(s.id.rpartition("-")[2]), int(i.id)): int(i.mask.array().sum())
        for s in made.samples[:20]
        for i in s.layout.instances
        if i.mask is not None
    }
    assert found == {key: areas[key] for key in found}
    assert len(found) > 100


def labelled_all_the_same(finding: Finding) -> None:
    made = suite("yolo", str(Path(finding["file"]).parent))
    numbers = {int(s.id.rpartition("-")[2].rpartition("/")[2]) for s in made.samples}
    there = "label file" not in finding["finding"]
    assert all((number in numbers) is there for number in finding["examples"])


def empty_file_skipped(finding: Finding) -> None:
    made = suite("yolo", str(Path(finding["file"]).parent))
    skipped = {e.id.rpartition("/")[2] for e in made.records if e.reason == "no usable instance"}
    assert {Path(e).stem for e in finding["examples"]} <= skipped


def no_picture(finding: Finding) -> None:
    listing = json.loads((DATA / finding["file"]).read_text("utf-8"))
    made = suite("dreambooth", "refs", "dreambench")
    skipped = {int(e.id) for e in made.records if e.reason == "its picture is not there"}
    assert skipped == {n for n, r in enumerate(listing) if r["image_paths"][0] in finding["examples"]}


def picture(repair: str) -> Check:
    def check(finding: Finding) -> None:
        for path, _ in finding["examples"]:
            repairs: list[str] = []
            assert picture_of(DATA / path, repairs).shape[2] == 3
            assert repairs == [repair]

    return check


def one_content(finding: Finding) -> None:
    for pair in finding["examples"]:
        one, other = (reference_of(picture_of(DATA / path, []), "x").key for path in pair)
        assert one == other


def refused(form: str, name: str, message: str) -> Check:
    def check(finding: Finding) -> None:
        with pytest.raises(LayoutmarkError, match=message):
            suite(form, finding["file"], name)

    return check


OPEN = DATA / "openimages"
APPLES, ROWS, TURNS, PARTS, TREE = (
    f"openimages/{name}" for name in (
        "apple_subset/instances2_val2017.json", "apple_subset/validation-annotations-bbox-1.csv",
        "apple_subset/validation-images-with-rotation-2.csv", "body_parts/test-annotations-bbox.csv",
        "bbox_labels_600_hierarchy.json",
    )
)  # fmt: skip


def of_open_images(finding: Finding) -> BuiltSuite:
    """The folder that holds a table, built."""
    return suite("openimages", str(Path(finding["file"]).parent))


def table(finding: Finding) -> list[dict[str, str]]:
    with (DATA / finding["file"]).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def ended(*ends: tuple[str, str], id_of: Callable[[Any], Any]) -> Check:
    """Each example's record ended in one of these ways."""

    def check(finding: Finding) -> None:
        found = set().union(*(told(finding["file"], *end) for end in ends))
        assert len(finding["examples"]) == finding["n"]
        assert {str(id_of(example)) for example in finding["examples"]} <= found

    return check


def stays_or_is_a_crowd(finding: Finding) -> None:
    ids = {i.id for i in instances(finding["file"])} | told(finding["file"], "skipped", "a crowd is no single thing")
    assert {str(e) for e in finding["examples"]} <= ids


def huge_ids_stay(finding: Finding) -> None:
    images = {str(i["id"]) for i in json.loads((DATA / finding["file"]).read_text("utf-8"))["images"]}
    made = form_of(finding["file"])
    kept = {s.id.removeprefix("coco-val2017-") for s in made.samples}
    skipped = {e.id for e in made.records if e.kind == "image" and e.outcome == "skipped"}
    assert {str(e) for e in finding["examples"]} <= images
    assert kept | skipped == images, "not one digit is lost"


def rows_end(*ends: tuple[str, str]) -> Check:
    """Rows, counted from 0 after the header or from 1, ended in one of these ways."""

    def check(finding: Finding) -> None:
        name = Path(finding["file"]).name
        records = of_open_images(finding).records
        lines = {e.id for e in records if (e.outcome, e.reason) in ends}
        for number, box in finding["examples"]:
            values = [[float(r[c]) for c in ("XMin", "YMin", "XMax", "YMax")] for r in table(finding)]
            (line,) = [n + 2 for n in (number, number - 1, number - 2) if values[n] == pytest.approx(box)]
            assert f"{name} line {line}" in lines

    return check


def pictures_end(outcome: str, reason: str, id_of: Callable[[Any], str] = str) -> Check:
    def check(finding: Finding) -> None:
        made = of_open_images(finding)
        ids = {e.id for e in made.records if (e.kind, e.outcome, e.reason) == ("picture", outcome, reason)}
        gone = {e.id for e in made.records if (e.kind, e.outcome) == ("picture", "skipped")} - ids
        assert len(finding["examples"]) == finding["n"]
        assert ids == {id_of(example) for example in finding["examples"]} - gone

    return check


def titles_hurt_nothing(finding: Finding) -> None:
    rows = {row["ImageID"]: row for row in table(finding)}
    made = of_open_images(finding)
    odd = [s for s in made.samples if s.id.removeprefix("openimages-") in set(finding["examples"])]
    assert len(odd) > 20
    for sample in odd:
        row = rows[sample.id.removeprefix("openimages-")]
        assert sample.provenance["licence"].startswith(f"picture: {row['License']} ({row['Author']})")
        assert sample.provenance["url"] == row["OriginalURL"]


def names_are_no_key(finding: Finding) -> None:
    names = importlib.import_module("layoutmark.datasets.openimages.build").read_classes(DATA / finding["file"])
    assert {word for word in finding["examples"] if list(names.values()).count(word) < 2} == set()


def every_parent_counts(finding: Finding) -> None:
    parents: dict[str, set[str]] = {}

    def walk(node: dict[str, Any]) -> None:
        for child in node.get("Subcategory", []):
            parents.setdefault(child["LabelName"], set()).add(node["LabelName"])
            walk(child)

    walk(json.loads((DATA / finding["file"]).read_text("utf-8")))
    tree = importlib.import_module("layoutmark.datasets.openimages.hierarchy").read_hierarchy(DATA / finding["file"])
    for label in finding["examples"]:
        assert parents.get(label, set()) <= set(tree.lineage(label))


def the_root_names_nothing(finding: Finding) -> None:
    room = "layoutmark.datasets.openimages"
    tree = importlib.import_module(f"{room}.hierarchy").read_hierarchy(DATA / finding["file"])
    names = importlib.import_module(f"{room}.build").read_classes(OPEN / "apple_subset/class-descriptions-boxable.csv")
    (root,) = finding["examples"]
    assert root not in names
    assert root not in importlib.import_module(f"{room}.vocabulary").of_coco(names, tree)


def older_tree_refused(finding: Finding) -> None:
    tree = importlib.import_module("layoutmark.datasets.openimages.hierarchy")
    with pytest.raises(LayoutmarkError, match=r"bbox_hierarchy\.json: found a class without 'LabelName'"):
        tree.read_hierarchy(DATA / finding["file"])


def rows_meet_in_their_picture(finding: Finding) -> None:
    order = [row["ImageID"] for row in table(finding)]
    assert any(one != other and one in order[k + 2 :] for k, (one, other) in enumerate(pairwise(order)))
    made = of_open_images(finding)
    ids = [s.id for s in made.samples]
    assert len(ids) == len(set(ids))
    assert made.counts["rows"] == len(order)
    assert sum(len(s.layout.instances) for s in made.samples) == made.counts["rows"] - made.counts["rows skipped"]


def noise_stays(finding: Finding) -> None:
    """Numbers are taken as they are written."""
    rows = [r for r in table(finding) if r["IsGroupOf"] == "0"]
    said = {tuple(float(r[c]) for c in ("XMin", "YMin", "XMax", "YMax")) for r in rows}
    kept = {i.box.xyxy for s in of_open_images(finding).samples for i in s.layout.instances}
    assert len(kept - said) <= 2, "but for boxes cut at the edge"
    assert any(len(str(value)) > 12 for box in kept for value in box)


no_area = records("skipped", "a box has no area", first)
no_scene = records("skipped", "a box has no area")
SPREAD = "box spans most of the picture (>=95% each way)"
EXTENT = "mask extent differs from bbox by more than 3 px"
BLANKS = "prompt has leading/trailing space, newline or double space"
stray = records("repaired", "stray blanks in the prompt")
detections = refused("coco", "coco-val2017", "found a list; expected an object")
no_labels = refused("yolo", "yolo", r"found no labels/\*\.txt")
SPOKEN = "label with capital letters, underscore or outer space"
DECLARED: list[tuple[str, str, Check]] = [
    ("layouts/nsr1k/counting", "num_object disagrees", records(
        "flagged", "counts in the record do not match its boxes", first)),
    ("layouts/nsr1k", "same prompt text", both_prompts_stay),
    ("layouts/nsr1k", "same COCO image_id", all_pictures_stay),
    ("layouts/nsr1k", BLANKS, stray),
    ("layouts/nsr1k/spatial", "box: zero width or height", no_area),
    ("layouts/nsr1k/spatial", "box centres contradict", no_area),
    ("layouts/nsr1k/spatial", "placeholder records", no_scene),
    (LAYOUTGPT, "box: covers the whole canvas", whole),
    (LAYOUTGPT, "box: outside the canvas", outside),
    (LAYOUTGPT, "no boxes at all", counted(("skipped", "no usable instance"))),
    (LAYOUTGPT, SPOKEN, respelt),
    ("layouts/instancediffusion", "mask is an empty list", no_mask),
    ("layouts/instancediffusion", "category_name is an empty string", named_by_phrase),
    ("layouts/instancediffusion", "box: outside the canvas", outside),
    ("layouts/instancediffusion", "caption empty or with outer space", tidied),
    ("layouts/instancediffusion", "mask extent differs", box_and_mask_stay),
    ("layouts/instancediffusion", "box: zero width or height", counted(("skipped", "box has no area"))),
    ("layouts/densediffusion/testset.pkl", "empty segment description", background_left_out),
    ("layouts/densediffusion", "number of distinct colours", records(
        "skipped", "not as many colours as descriptions", first)),
    ("layouts/attention_refocusing", "box: outside the canvas", outside),
    ("layouts/attention_refocusing", "name with underscore", respelt),
    ("layouts/lmd", "box: outside the canvas", outside),
    ("refs/uno", "image_paths that have no picture", no_picture),
    ("pictures under coco", "not RGB", picture(COLOURS)),
    ("pictures under oracles/clip", "not RGB", picture(COLOURS)),
    ("pictures under refs", "multi-picture JPEG", picture(FRAMES)),
    ("IMAGES", "same bytes under two names", one_content),
    *[(file, EXTENT, box_and_mask_stay) for file in (MINI, TINY, OF_2014)],
    *[(file, SPREAD, they_stay) for file in (MINI, TINY, OF_2014)],
    (OF_2014, "categories with no annotation", not_asked_for),
    ("coco/coco_mini_train2017/captions", "caption with outer white space", records("repaired", "stray blanks")),
    ("coco/coco_mini_train2017/captions", "no final full stop", captions_stay),
    ("coco/coco128_train2017/panoptic", "annotation order differs", one_order_for_all),
    ("coco/coco128_train2017/yolo_boxes", "labelled picture not in", labelled_all_the_same),
    ("coco/coco128_train2017/yolo_boxes", "picture of the panoptic file without", labelled_all_the_same),
    ("coco/coco128_train2017/yolo_polygons", "file with no object", empty_file_skipped),
    ("coco/transformers_fixture", "box: covers the whole canvas", refused(
        "coco", "coco-panoptic", "found a list; expected an object")),
    (TOY, "image without any annotation", records("skipped", "no usable instance")),
    *[(file, "annotation id is 0", zero_is_an_id) for file in (TOY, DETECTED)],
    *[(file, "category ids start at 0", zero_is_a_category) for file in (TOY, DETECTED)],
    (TOY, "area disagrees with box", lambda finding: they_stay({**finding, "examples": [8]})),
    (DETECTED, "area disagrees with box", lambda f: they_stay({**f, "examples": [e[0] for e in f["examples"]]})),
    (DETECTED, "box: outside the canvas", outside),
    ("oracles/cocoapi_val2014_100/instances_val2014_fake", "", detections),
    (DETECTED, "detection: outside the canvas", outside),
    ("oracles/padilla_toy/dets_class", "box: outside the canvas", no_labels),
    ("oracles/padilla_case1", "published 11-point AP", no_labels),
    (APPLES, "ids larger than 2**53", huge_ids_stay),
    (APPLES, "box: covers the whole canvas", ended(
        ("flagged", "box covers the whole canvas"), ("skipped", "a crowd is no single thing"),
        id_of=lambda e: e[0][0])),
    (APPLES, SPREAD, stays_or_is_a_crowd),
    (APPLES, "categories with no annotation", not_asked_for),
    (ROWS, "box: covers the whole canvas", rows_end(
        ("flagged", "box covers the whole canvas"), ("skipped", "a group is no single thing"))),
    (TURNS, "non-zero rotation", pictures_end("skipped", "picture is to be turned, and its boxes may not be", first)),
    (TURNS, "rotation missing", pictures_end("flagged", "rotation not stated")),
    (TURNS, "title with comma", titles_hurt_nothing),
    ("openimages/legacy/dict.csv", "duplicate display name", names_are_no_key),
    (TREE, "label under more than one parent", every_parent_counts),
    (TREE, "label not in class-descriptions", the_root_names_nothing),
    ("openimages/legacy/bbox_hierarchy.json", "name under more than one parent", older_tree_refused),
    (PARTS, "box: covers the whole canvas", rows_end(
        ("flagged", "box covers the whole canvas"), ("skipped", "a group is no single thing"))),
    (PARTS, "rows not grouped by image", rows_meet_in_their_picture),
    (PARTS, "coordinate with float noise", noise_stays),
]  # fmt: skip


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda f: f"{f['file']}: {f['finding']}"[:120])
def test_a_finding_ends_as_declared(finding: Finding) -> None:
    place, what = finding["file"], finding["finding"]
    checks = [check for head, start, check in DECLARED if place.startswith(head) and what.startswith(start)]
    assert len(checks) == 1, "each finding is declared once"
    checks[0](finding)


def test_all_findings_are_walked() -> None:
    assert len(FINDINGS) == 92
