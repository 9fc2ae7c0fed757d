"""Open Images' tables, made here, and the real excerpts where they lie beside the project."""

from __future__ import annotations

import csv
import importlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from layoutmark.api import BuiltSuite
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Sample, sample_from_json, sample_to_json

build = importlib.import_module("layoutmark.datasets.openimages.build")
hierarchy = importlib.import_module("layoutmark.datasets.openimages.hierarchy")
vocabulary = importlib.import_module("layoutmark.datasets.openimages.vocabulary")

HEAD = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
CLASSES = {"/m/p": "Person", "/m/m": "Man", "/m/c": "Car", "/m/v": "Vehicle", "/m/f": "Fountain", "/m/w": "Wheel"}
TREE = {
    "LabelName": "/m/root",
    "Subcategory": [
        {"LabelName": "/m/p", "Subcategory": [{"LabelName": "/m/m"}]},
        {"LabelName": "/m/v", "Subcategory": [{"LabelName": "/m/c", "Part": [{"LabelName": "/m/w"}]}]},
        {"LabelName": "/m/f"},
    ],
}


def row(image: str, label: str, box: Iterable[Any] = (0.1, 0.5, 0.2, 0.6), flags: str = "0,0,0,0,0") -> str:
    return f"{image},xclick,{label},1,{','.join(map(str, box))},{flags}"


def write(folder: Path, *rows: str, head: str = HEAD, **files: str) -> Path:
    (folder / "validation-annotations-bbox.csv").write_text("\r\n".join([head, *rows]) + "\r\n", "utf-8")
    listed = "".join(f"{label},{name}\n" for label, name in CLASSES.items())
    (folder / "class-descriptions-boxable.csv").write_text(listed, "utf-8")
    (folder / "bbox_labels_600_hierarchy.json").write_text(json.dumps(TREE), "utf-8")
    for name, text in files.items():
        (folder / f"{name.replace('_', '-')}.csv").write_text(text, "utf-8")
    return folder


def built(folder: Path, name: str = "openimages") -> BuiltSuite:
    found: BuiltSuite = build.build_suite(name, folder)
    return found


def only(suite: BuiltSuite) -> Sample:
    (sample,) = suite.samples
    return sample


def test_a_row_becomes_an_instance_with_its_flags(tmp_path) -> None:
    rows = [row("a", "/m/m", (0.1, 0.5, 0.2, 0.75), "1,1,0,-1,0"), row("a", "/m/f", (0.6, 0.9, 0, 1))]
    sample = only(built(write(tmp_path, *rows)))
    man, fountain = sample.layout.instances
    assert (man.phrase, man.category, man.box.xyxy) == ("man", "man", (0.1, 0.2, 0.5, 0.75))
    assert man.attributes == {"occluded": "yes", "truncated": "yes"}
    assert fountain.box.xyxy == (0.6, 0.0, 0.9, 1.0)
    assert sample.prompt == "a photo of a man and a fountain"
    assert sample.strata["truncation"] == "yes"
    assert sample.id == "openimages-a"
    assert (sample.layout.canvas.width, sample.layout.canvas.height) == (512, 512)


def test_groups_and_views_from_inside_are_no_targets_and_rows_may_come_in_any_order(tmp_path) -> None:
    rows = [
        row("a", "/m/c"), row("b", "/m/f"), row("a", "/m/m", flags="0,0,1,0,0"), row("a", "/m/v", flags="0,0,0,0,1"),
        row("a", "/m/c"), row("c", "/m/p", flags="0,0,1,0,0"),
    ]  # fmt: skip
    suite = built(write(tmp_path, *rows))
    assert [(s.id, len(s.layout.instances)) for s in suite.samples] == [("openimages-a", 1), ("openimages-b", 1)]
    assert suite.counts["rows skipped: a group is no single thing"] == 2
    assert suite.counts["rows skipped: seen from inside"] == 1
    assert suite.counts["rows skipped: the same box twice"] == 1
    assert suite.counts["pictures skipped: no usable box"] == 1
    assert next(r.id for r in suite.records if "group" in r.reason) == "validation-annotations-bbox.csv line 4"


def test_odd_rows_are_skipped_or_repaired_and_counted(tmp_path) -> None:
    bad = {
        "box is inverted": (0.5, 0.1, 0.2, 0.6), "box has no area": (0.5, 0.5, 0.2, 0.6),
        "XMax is no finite number": (0.1, "nan", 0.2, 0.6), "YMin is no finite number": (0.1, 0.2, "x", 0.6),
    }  # fmt: skip
    rows = [row("a", "/m/c"), *(row("a", "/m/c", box) for box in bad.values()), row("a", "/m/?")]
    rows += [
        row("a", "/m/c", flags="0,0,7,0,0"),
        row("a", "/m/f", (0.5, 1.2, 0.2, 0.6)),
        row("a", "/m/p", (0, 1, 0, 1)),
    ]
    suite = built(write(tmp_path, *rows))
    for reason in (*bad, "of a class that is not in the list", "IsGroupOf is not -1, 0 or 1"):
        assert suite.counts[f"rows skipped: {reason}"] == 1, reason
    assert suite.counts["rows repaired: box cut at the edge of the canvas"] == 1
    assert suite.counts["rows flagged: box covers the whole canvas"] == 1
    assert len(only(suite).layout.instances) == 3


def test_pictures_that_are_to_be_turned_are_left_out(tmp_path) -> None:
    head = "ImageID,Subset,OriginalURL,License,Author,Title,Rotation\n"
    said = 'a,validation,http://a,CC,"Ann, ""A""",x,0.0\nb,validation,http://b,CC,Bo,x,270.0\nc,validation,http://c,CC,C,x,\n'
    folder = write(tmp_path, *(row(n, "/m/c") for n in "abc"), validation_images_with_rotation=head + said)
    suite = built(folder)
    assert [s.id for s in suite.samples] == ["openimages-a", "openimages-c"]
    assert suite.samples[0].provenance["licence"].startswith('picture: CC (Ann, "A"); annotations CC-BY-4.0')
    assert suite.samples[0].provenance["url"] == "http://a"
    assert suite.counts["pictures skipped: picture is to be turned, and its boxes may not be"] == 1
    assert suite.counts["pictures flagged: rotation not stated"] == 1
    write(tmp_path, row("a", "/m/c"), validation_images_with_rotation=head + "a,validation,u,CC,A,x,left\n")
    with pytest.raises(LayoutmarkError, match="line 2, Rotation: found left; expected degrees or nothing"):
        built(folder)


def test_sizes_make_the_canvas(tmp_path) -> None:
    sizes = "image_id,image_w,image_h\na,1024,683\n"
    suite = built(write(tmp_path, row("a", "/m/c"), row("b", "/m/c"), validation_sizes=sizes))
    assert [(s.layout.canvas.width, s.layout.canvas.height) for s in suite.samples] == [(1024, 683), (512, 512)]
    assert build.NO_SIZE not in suite.notes
    write(tmp_path, row("a", "/m/c"), validation_sizes="image_id,image_w,image_h\na,1024,x\n")
    with pytest.raises(
        LayoutmarkError, match="validation-sizes.csv, line 2: found 1024 x x; expected width and height"
    ):
        built(tmp_path)


def test_judged_are_verified_classes_with_those_above_the_present_and_below_the_absent(tmp_path) -> None:
    labels = "ImageID,Source,LabelName,Confidence\na,verification,/m/v,0\na,verification,/m/w,1\na,machine,/m/f,0.6\n"
    folder = write(tmp_path, row("a", "/m/m"), validation_annotations_human_imagelabels_boxable=labels)
    sample = only(built(folder))
    assert sample.judged == ("car", "man", "person", "vehicle", "wheel")
    assert sample_from_json(sample_to_json(sample)).judged == sample.judged


def test_groups_are_verified_classes_too(tmp_path) -> None:
    sample = only(built(write(tmp_path, row("a", "/m/m"), row("a", "/m/c", flags="0,0,1,0,0"))))
    assert sample.judged == ("car", "man", "person", "vehicle")


def test_coco_names_come_through_the_hierarchy(tmp_path) -> None:
    rows = [row("a", "/m/m"), row("a", "/m/c", (0.5, 0.9, 0.5, 0.9)), row("a", "/m/f", (0.6, 0.9, 0, 1))]
    rows += [row("a", "/m/c", (0.5, 0.6, 0.5, 0.9)), row("b", "/m/m")]
    labels = "ImageID,Source,LabelName,Confidence\na,verification,/m/p,0\nb,verification,/m/v,0\n"
    folder = write(tmp_path, *rows, validation_annotations_human_imagelabels_boxable=labels)
    suite = built(folder, "openimages-500")
    sample = only(suite)
    assert [(i.phrase, i.category) for i in sample.layout.instances] == [("man", "person"), ("car", "car")]
    assert sample.judged == ("car", "person")
    assert suite.counts["pictures flagged: boxes that are small or of no COCO class left out of the layout"] == 1
    (folder / "bbox_labels_600_hierarchy.json").unlink()
    with pytest.raises(LayoutmarkError, match=r"found no \*hierarchy\*.json; expected the tree of classes"):
        built(folder, "openimages-500")


def test_absence_of_a_kind_is_no_absence_of_what_stands_above_it(tmp_path) -> None:
    labels = "ImageID,Source,LabelName,Confidence\na,verification,/m/m,0\n"
    rows = [row("a", "/m/c"), row("a", "/m/c", (0.5, 0.9, 0.5, 0.9))]
    folder = write(tmp_path, *rows, validation_annotations_human_imagelabels_boxable=labels)
    assert only(built(folder, "openimages-500")).judged == ("car",)


def test_masks_find_their_boxes(tmp_path) -> None:
    pixels = np.zeros((20, 40), np.uint8)
    pixels[4:12, 4:20] = 255
    (tmp_path / "masks").mkdir()
    for name in ("good.png", "apart.png"):
        Image.fromarray(pixels).save(tmp_path / "masks" / name)
    Image.fromarray(pixels * 0).save(tmp_path / "masks" / "empty.png")
    (tmp_path / "masks" / "bad.png").write_bytes(b"no picture")
    head = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
    at = ",/m/c,0,0.1001,0.5,0.2,0.6,0.9,\n"
    lines = ["good.png,a" + at, "apart.png,a,/m/c,0,0.2,0.5,0.2,0.6,0.9,\n", "gone.png,a" + at, "good.png,z" + at]
    lines += ["empty.png,a" + at, "bad.png,a" + at]
    folder = write(tmp_path, row("a", "/m/c"), validation_annotations_object_segmentation=head + "".join(lines))
    suite = built(folder)
    (instance,) = only(suite).layout.instances
    assert instance.mask is not None
    assert np.array_equal(instance.mask.array(), pixels > 0)
    assert instance.point is not None
    assert instance.scribble is not None
    for reason in (
        "no box with these corners", "no such picture", "of a picture without boxes", "mask is empty",
        "picture of the mask cannot be read",
    ):  # fmt: skip
        assert suite.counts[f"masks skipped: {reason}"] == 1, reason


@pytest.mark.parametrize("head", ["", "label,name\n", "id,name\n", "LabelName,DisplayName\n"])
def test_class_lists_with_and_without_a_header(tmp_path, head) -> None:
    write(tmp_path, row("a", "/m/c"))
    (tmp_path / "class-descriptions-boxable.csv").write_text(head + "/m/c,Sea  turtle\n", "utf-8")
    assert only(built(tmp_path)).layout.instances[0].phrase == "sea turtle"


def test_what_cannot_be_read_is_refused(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match=r"found no \*class-descriptions\*.csv"):
        built(tmp_path)
    with pytest.raises(LayoutmarkError, match="boxes: found numbers up to 400; expected fractions"):
        built(write(tmp_path, row("a", "/m/c", (10, 400, 10, 300))))
    with pytest.raises(LayoutmarkError, match="line 1: found no column 'LabelName'"):
        built(write(tmp_path, "a,b", head="ImageID,Label"))
    (tmp_path / "train-annotations-bbox.csv").write_text(HEAD, "utf-8")
    with pytest.raises(LayoutmarkError, match="expected one file"):
        built(tmp_path)


def test_other_trees_are_refused(tmp_path) -> None:
    write(tmp_path, row("a", "/m/c"))
    for tree in ([1], {"name": "Entity", "children": []}, {"LabelName": "/m/x", "Subcategory": {"LabelName": "y"}}):
        (tmp_path / "bbox_labels_600_hierarchy.json").write_text(json.dumps(tree), "utf-8")
        with pytest.raises(LayoutmarkError, match="bbox_labels_600_hierarchy.json"):
            built(tmp_path)


def test_parts_are_no_kinds_and_a_class_may_have_several_parents() -> None:
    found = hierarchy.Hierarchy({"c": frozenset("ab"), "a": frozenset("r"), "b": frozenset("r")})
    assert found.lineage("c") == ["c", "a", "b", "r"]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(text=st.text(alphabet='a,"\n\r0.1/m-x', max_size=120))
def test_any_text_is_read_or_refused(tmp_path, text) -> None:
    write(tmp_path, row("a", "/m/c"), text)
    try:
        suite = built(tmp_path)
    except LayoutmarkError:
        return
    assert all(i.category in {n.lower() for n in CLASSES.values()} for s in suite.samples for i in s.layout.instances)


SHARED = (
    Path(os.environ.get("LAYOUTMARK_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "data" / "openimages"
)
needs_data = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the real excerpts of Open Images are not beside the project"
)


@pytest.fixture
def apples(tmp_path) -> Path:
    for path in (*(SHARED / "apple_subset").glob("*.csv"), *SHARED.glob("*.*")):
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


@needs_data
def test_real_rows_agree_with_their_known_anomalies(apples) -> None:
    suite = built(apples)
    assert suite.counts["rows skipped: a group is no single thing"] == 406
    assert suite.counts["pictures skipped: picture is to be turned, and its boxes may not be"] == 6
    instances = sum(len(s.layout.instances) for s in suite.samples)
    told = suite.counts["rows skipped"]
    with (apples / "validation-annotations-bbox-1.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    turned = {"85cb6d41a18748b5", "7ddae3ac9ca6bce9", "4ac0687764ff6b0e", "953afc5a0dfdcf2f", "4e76464cd156798a", "0344cade36bbd4f4"}  # fmt: skip  # noqa: E501
    lost = sum(r["ImageID"] in turned and r["IsGroupOf"] == "0" for r in rows)
    assert instances == len(rows) - told - lost == 1955 - told - lost


@needs_data
def test_boxes_agree_with_another_conversion_of_the_same_rows(apples) -> None:
    theirs = json.loads((SHARED / "apple_subset" / "instances2_val2017.json").read_text("utf-8"))
    files = {image["id"]: image["file_name"].removesuffix(".jpg") for image in theirs["images"]}
    wanted: dict[str, list[list[float]]] = {}
    for a in theirs["annotations"]:
        wanted.setdefault(files[a["image_id"]], []).append(a["bbox"])
    for sample in built(apples).samples:
        boxes = np.array(wanted[sample.id.removeprefix("openimages-")])
        for instance in sample.layout.instances:
            x0, y0, x1, y1 = instance.box.pixels(sample.layout.canvas)
            apart = np.abs(boxes - (x0, y0, x1 - x0, y1 - y0)).max(1)
            assert apart.min() <= 0.011, sample.id


@needs_data
def test_the_real_tree_has_600_classes_below_its_root(apples) -> None:
    tree = hierarchy.read_hierarchy(SHARED / "bbox_labels_600_hierarchy.json")
    assert len(tree.kinds("/m/0bl9f")) == 602
    assert sum(len(parents) > 1 for parents in tree.above.values()) == 45
    names = build.read_classes(SHARED / "apple_subset" / "class-descriptions-boxable.csv")
    called = vocabulary.of_coco(names, tree)
    said = {names[label]: name for label, name in called.items()}
    assert (said["man"], said["canary"], said["mobile phone"]) == ("person", "bird", "cell phone")
    assert set(vocabulary.OTHERWISE) <= set(names.values())
    assert set(called.values()) == vocabulary.COCO


@needs_data
def test_real_pictures_without_rotation_and_with_odd_titles_are_read(apples) -> None:
    suite = built(apples)
    kept = {s.id.removeprefix("openimages-"): s for s in suite.samples}
    with (apples / "validation-images-with-rotation-2.csv").open(newline="", encoding="utf-8") as file:
        listed = {row["ImageID"]: row for row in csv.DictReader(file)}
    without = {name for name, row in listed.items() if not row["Rotation"]}
    assert len(without) == 59
    flagged = {r.id for r in suite.records if r.reason == "rotation not stated"}
    assert flagged == without & set(kept)
    for name in set(kept) & set(listed):
        assert f"({listed[name]['Author']})" in kept[name].provenance["licence"]


@needs_data
def test_real_boxes_over_everything_are_flagged_or_of_groups(apples) -> None:
    suite = built(apples)
    with (apples / "validation-annotations-bbox-1.csv").open(newline="") as file:
        rows = list(enumerate(csv.DictReader(file), start=2))
    whole = [n for n, r in rows if [float(r[c]) for c in ("XMin", "XMax", "YMin", "YMax")] == [0, 1, 0, 1]]
    assert len(whole) == 6
    for line in whole:
        (told,) = [r.reason for r in suite.records if r.id == f"validation-annotations-bbox-1.csv line {line}"]
        assert told in ("box covers the whole canvas", "a group is no single thing")


@needs_data
def test_real_rows_that_are_not_grouped_by_picture(tmp_path) -> None:
    for path in (SHARED / "body_parts").glob("*.csv"):
        (tmp_path / path.name).symlink_to(path)
    suite = built(tmp_path)
    assert suite.counts["rows kept"] + suite.counts["rows skipped"] == 2784
    assert len({s.id for s in suite.samples}) == len(suite.samples)
    assert {i.category for s in suite.samples for i in s.layout.instances} <= {
        "human body", "human foot", "human leg", "human hand", "human arm", "human head",
    }  # fmt: skip


@needs_data
def test_a_conversion_to_coco_with_huge_ids_keeps_them() -> None:
    path = SHARED / "apple_subset" / "instances2_val2017.json"
    suite = importlib.import_module("layoutmark.datasets.coco.build").build_suite("coco-val2017", path)
    images = {str(image["id"]) for image in json.loads(path.read_text("utf-8"))["images"]}
    assert sum(int(name) > 2**53 for name in images) == 452
    assert {s.id.removeprefix("coco-val2017-") for s in suite.samples} <= images
    assert suite.counts["annotations skipped: a crowd is no single thing"] == 406
    assert len(suite.categories) == 2, "classes without a thing are no categories of the suite"


@needs_data
def test_older_files_are_refused_or_read_by_label() -> None:
    with pytest.raises(LayoutmarkError, match="bbox_hierarchy.json: found a class without 'LabelName'"):
        hierarchy.read_hierarchy(SHARED / "legacy" / "bbox_hierarchy.json")
    names = build.read_classes(SHARED / "legacy" / "dict.csv")
    assert len(names) - len(set(names.values())) >= 74, "names are no key"
