"""Open Images' tables: synthetic ones, and real excerpts if available."""

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

HEADER = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
CLASSES = {"/m/p": "Person", "/m/m": "Man", "/m/c": "Car", "/m/v": "Vehicle", "/m/f": "Fountain", "/m/w": "Wheel"}
HIERARCHY = {
    "LabelName": "/m/root",
    "Subcategory": [
        {"LabelName": "/m/p", "Subcategory": [{"LabelName": "/m/m"}]},
        {"LabelName": "/m/v", "Subcategory": [{"LabelName": "/m/c", "Part": [{"LabelName": "/m/w"}]}]},
        {"LabelName": "/m/f"},
    ],
}


def box_row(image: str, label: str, box: Iterable[Any] = (0.1, 0.5, 0.2, 0.6), flags: str = "0,0,0,0,0") -> str:
    return f"{image},xclick,{label},1,{','.join(map(str, box))},{flags}"


def write_source(folder: Path, *rows: str, header: str = HEADER, **files: str) -> Path:
    (folder / "validation-annotations-bbox.csv").write_text("\r\n".join([header, *rows]) + "\r\n", "utf-8")
    class_lines = "".join(f"{label},{name}\n" for label, name in CLASSES.items())
    (folder / "class-descriptions-boxable.csv").write_text(class_lines, "utf-8")
    (folder / "bbox_labels_600_hierarchy.json").write_text(json.dumps(HIERARCHY), "utf-8")
    for name, text in files.items():
        (folder / f"{name.replace('_', '-')}.csv").write_text(text, "utf-8")
    return folder


def build_toy_suite(folder: Path, name: str = "openimages") -> BuiltSuite:
    suite: BuiltSuite = build.build_suite(name, folder)
    return suite


def only_sample(suite: BuiltSuite) -> Sample:
    (sample,) = suite.samples
    return sample


def test_a_row_becomes_an_instance_with_its_flags(tmp_path) -> None:
    rows = [box_row("a", "/m/m", (0.1, 0.5, 0.2, 0.75), "1,1,0,-1,0"), box_row("a", "/m/f", (0.6, 0.9, 0, 1))]
    sample = only_sample(build_toy_suite(write_source(tmp_path, *rows)))
    man, fountain = sample.layout.instances
    assert (man.phrase, man.category, man.box.xyxy) == ("man", "man", (0.1, 0.2, 0.5, 0.75))
    assert man.attributes == {"occluded": "yes", "truncated": "yes"}
    assert fountain.box.xyxy == (0.6, 0.0, 0.9, 1.0)
    assert sample.prompt == "a photo of a man and a fountain"
    assert sample.strata["truncation"] == "yes"
    assert sample.id == "openimages-a"
    assert (sample.layout.canvas.width, sample.layout.canvas.height) == (512, 512)


def test_groups_and_inside_views_are_skipped_and_rows_may_be_in_any_order(tmp_path) -> None:
    rows = [
        box_row("a", "/m/c"), box_row("b", "/m/f"), box_row("a", "/m/m", flags="0,0,1,0,0"),
        box_row("a", "/m/v", flags="0,0,0,0,1"),
        box_row("a", "/m/c"), box_row("c", "/m/p", flags="0,0,1,0,0"),
    ]  # fmt: skip
    suite = build_toy_suite(write_source(tmp_path, *rows))
    assert [(s.id, len(s.layout.instances)) for s in suite.samples] == [("openimages-a", 1), ("openimages-b", 1)]
    assert suite.counts["rows skipped: a group is no single thing"] == 2
    assert suite.counts["rows skipped: seen from inside"] == 1
    assert suite.counts["rows skipped: the same box twice"] == 1
    assert suite.counts["pictures skipped: no usable box"] == 1
    assert next(r.id for r in suite.records if "group" in r.reason) == "validation-annotations-bbox.csv line 4"


def test_irregular_rows_are_skipped_or_repaired_and_counted(tmp_path) -> None:
    boxes_by_reason = {
        "box is inverted": (0.5, 0.1, 0.2, 0.6), "box has no area": (0.5, 0.5, 0.2, 0.6),
        "XMax is no finite number": (0.1, "nan", 0.2, 0.6), "YMin is no finite number": (0.1, 0.2, "x", 0.6),
    }  # fmt: skip
    rows = [
        box_row("a", "/m/c"),
        *(box_row("a", "/m/c", box) for box in boxes_by_reason.values()),
        box_row("a", "/m/?"),
    ]
    rows += [
        box_row("a", "/m/c", flags="0,0,7,0,0"),
        box_row("a", "/m/f", (0.5, 1.2, 0.2, 0.6)),
        box_row("a", "/m/p", (0, 1, 0, 1)),
    ]
    suite = build_toy_suite(write_source(tmp_path, *rows))
    for reason in (*boxes_by_reason, "of a class that is not in the list", "IsGroupOf is not -1, 0 or 1"):
        assert suite.counts[f"rows skipped: {reason}"] == 1, reason
    assert suite.counts["rows repaired: box cut at the edge of the canvas"] == 1
    assert suite.counts["rows flagged: box covers the whole canvas"] == 1
    assert len(only_sample(suite).layout.instances) == 3


def test_rotated_images_are_skipped(tmp_path) -> None:
    header = "ImageID,Subset,OriginalURL,License,Author,Title,Rotation\n"
    lines = 'a,validation,http://a,CC,"Ann, ""A""",x,0.0\nb,validation,http://b,CC,Bo,x,270.0\nc,validation,http://c,CC,C,x,\n'
    folder = write_source(
        tmp_path, *(box_row(n, "/m/c") for n in "abc"), validation_images_with_rotation=header + lines
    )
    suite = build_toy_suite(folder)
    assert [s.id for s in suite.samples] == ["openimages-a", "openimages-c"]
    assert suite.samples[0].provenance["licence"].startswith('picture: CC (Ann, "A"); annotations CC-BY-4.0')
    assert suite.samples[0].provenance["url"] == "http://a"
    assert suite.counts["pictures skipped: picture is to be turned, and its boxes may not be"] == 1
    assert suite.counts["pictures flagged: rotation not stated"] == 1
    write_source(
        tmp_path, box_row("a", "/m/c"), validation_images_with_rotation=header + "a,validation,u,CC,A,x,left\n"
    )
    with pytest.raises(LayoutmarkError, match="line 2, Rotation: found left; expected degrees or nothing"):
        build_toy_suite(folder)


def test_sizes_set_the_canvas(tmp_path) -> None:
    sizes = "image_id,image_w,image_h\na,1024,683\n"
    suite = build_toy_suite(write_source(tmp_path, box_row("a", "/m/c"), box_row("b", "/m/c"), validation_sizes=sizes))
    assert [(s.layout.canvas.width, s.layout.canvas.height) for s in suite.samples] == [(1024, 683), (512, 512)]
    assert build.NO_SIZES_NOTE not in suite.notes
    write_source(tmp_path, box_row("a", "/m/c"), validation_sizes="image_id,image_w,image_h\na,1024,x\n")
    with pytest.raises(
        LayoutmarkError, match="validation-sizes.csv, line 2: found 1024 x x; expected width and height"
    ):
        build_toy_suite(tmp_path)


def test_judged_categories_include_ancestors_of_present_and_descendants_of_absent_classes(tmp_path) -> None:
    labels = "ImageID,Source,LabelName,Confidence\na,verification,/m/v,0\na,verification,/m/w,1\na,machine,/m/f,0.6\n"
    folder = write_source(tmp_path, box_row("a", "/m/m"), validation_annotations_human_imagelabels_boxable=labels)
    sample = only_sample(build_toy_suite(folder))
    assert sample.judged_categories == ("car", "man", "person", "vehicle", "wheel")
    assert sample_from_json(sample_to_json(sample)).judged_categories == sample.judged_categories


def test_categories_of_groups_are_judged(tmp_path) -> None:
    sample = only_sample(
        build_toy_suite(write_source(tmp_path, box_row("a", "/m/m"), box_row("a", "/m/c", flags="0,0,1,0,0")))
    )
    assert sample.judged_categories == ("car", "man", "person", "vehicle")


def test_coco_names_are_found_through_the_hierarchy(tmp_path) -> None:
    rows = [box_row("a", "/m/m"), box_row("a", "/m/c", (0.5, 0.9, 0.5, 0.9)), box_row("a", "/m/f", (0.6, 0.9, 0, 1))]
    rows += [box_row("a", "/m/c", (0.5, 0.6, 0.5, 0.9)), box_row("b", "/m/m")]
    labels = "ImageID,Source,LabelName,Confidence\na,verification,/m/p,0\nb,verification,/m/v,0\n"
    folder = write_source(tmp_path, *rows, validation_annotations_human_imagelabels_boxable=labels)
    suite = build_toy_suite(folder, "openimages-500")
    sample = only_sample(suite)
    assert [(i.phrase, i.category) for i in sample.layout.instances] == [("man", "person"), ("car", "car")]
    assert sample.judged_categories == ("car", "person")
    assert suite.counts["pictures flagged: boxes that are small or of no COCO class left out of the layout"] == 1
    (folder / "bbox_labels_600_hierarchy.json").unlink()
    with pytest.raises(LayoutmarkError, match=r"found no \*hierarchy\*.json; expected the hierarchy of classes"):
        build_toy_suite(folder, "openimages-500")


def test_absence_of_a_class_does_not_imply_absence_of_its_ancestors(tmp_path) -> None:
    labels = "ImageID,Source,LabelName,Confidence\na,verification,/m/m,0\n"
    rows = [box_row("a", "/m/c"), box_row("a", "/m/c", (0.5, 0.9, 0.5, 0.9))]
    folder = write_source(tmp_path, *rows, validation_annotations_human_imagelabels_boxable=labels)
    assert only_sample(build_toy_suite(folder, "openimages-500")).judged_categories == ("car",)


def test_masks_are_matched_to_boxes(tmp_path) -> None:
    pixels = np.zeros((20, 40), np.uint8)
    pixels[4:12, 4:20] = 255
    (tmp_path / "masks").mkdir()
    for name in ("good.png", "apart.png"):
        Image.fromarray(pixels).save(tmp_path / "masks" / name)
    Image.fromarray(pixels * 0).save(tmp_path / "masks" / "empty.png")
    (tmp_path / "masks" / "bad.png").write_bytes(b"no picture")
    header = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
    box_fields = ",/m/c,0,0.1001,0.5,0.2,0.6,0.9,\n"
    lines = [
        "good.png,a" + box_fields,
        "apart.png,a,/m/c,0,0.2,0.5,0.2,0.6,0.9,\n",
        "gone.png,a" + box_fields,
        "good.png,z" + box_fields,
    ]
    lines += ["empty.png,a" + box_fields, "bad.png,a" + box_fields]
    folder = write_source(
        tmp_path, box_row("a", "/m/c"), validation_annotations_object_segmentation=header + "".join(lines)
    )
    suite = build_toy_suite(folder)
    (instance,) = only_sample(suite).layout.instances
    assert instance.mask is not None
    assert np.array_equal(instance.mask.to_array(), pixels > 0)
    assert instance.point is not None
    assert instance.scribble is not None
    for reason in (
        "no box with these corners", "no such picture", "of a picture without boxes", "mask is empty",
        "picture of the mask cannot be read",
    ):  # fmt: skip
        assert suite.counts[f"masks skipped: {reason}"] == 1, reason


@pytest.mark.parametrize("header", ["", "label,name\n", "id,name\n", "LabelName,DisplayName\n"])
def test_class_lists_with_and_without_a_header(tmp_path, header) -> None:
    write_source(tmp_path, box_row("a", "/m/c"))
    (tmp_path / "class-descriptions-boxable.csv").write_text(header + "/m/c,Sea  turtle\n", "utf-8")
    assert only_sample(build_toy_suite(tmp_path)).layout.instances[0].phrase == "sea turtle"


def test_unreadable_sources_are_refused(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match=r"found no \*class-descriptions\*.csv"):
        build_toy_suite(tmp_path)
    with pytest.raises(LayoutmarkError, match="boxes: found numbers up to 400; expected fractions"):
        build_toy_suite(write_source(tmp_path, box_row("a", "/m/c", (10, 400, 10, 300))))
    with pytest.raises(LayoutmarkError, match="line 1: found no column 'LabelName'"):
        build_toy_suite(write_source(tmp_path, "a,b", header="ImageID,Label"))
    (tmp_path / "train-annotations-bbox.csv").write_text(HEADER, "utf-8")
    with pytest.raises(LayoutmarkError, match="expected one file"):
        build_toy_suite(tmp_path)


def test_other_hierarchies_are_refused(tmp_path) -> None:
    write_source(tmp_path, box_row("a", "/m/c"))
    for tree in ([1], {"name": "Entity", "children": []}, {"LabelName": "/m/x", "Subcategory": {"LabelName": "y"}}):
        (tmp_path / "bbox_labels_600_hierarchy.json").write_text(json.dumps(tree), "utf-8")
        with pytest.raises(LayoutmarkError, match="bbox_labels_600_hierarchy.json"):
            build_toy_suite(tmp_path)


def test_class_may_have_several_parents() -> None:
    tree = hierarchy.Hierarchy({"c": frozenset("ab"), "a": frozenset("r"), "b": frozenset("r")})
    assert tree.lineage("c") == ["c", "a", "b", "r"]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(text=st.text(alphabet='a,"\n\r0.1/m-x', max_size=120))
def test_any_text_is_read_or_refused(tmp_path, text) -> None:
    write_source(tmp_path, box_row("a", "/m/c"), text)
    try:
        suite = build_toy_suite(tmp_path)
    except LayoutmarkError:
        return
    assert all(i.category in {n.lower() for n in CLASSES.values()} for s in suite.samples for i in s.layout.instances)


SHARED = (
    Path(os.environ.get("LAYOUTMARK_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "data" / "openimages"
)
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data files are not available")


@pytest.fixture
def apples(tmp_path) -> Path:
    for path in (*(SHARED / "apple_subset").glob("*.csv"), *SHARED.glob("*.*")):
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


@needs_data
def test_real_rows_agree_with_known_anomalies(apples) -> None:
    suite = build_toy_suite(apples)
    assert suite.counts["rows skipped: a group is no single thing"] == 406
    assert suite.counts["pictures skipped: picture is to be turned, and its boxes may not be"] == 6
    instances = sum(len(s.layout.instances) for s in suite.samples)
    skipped_count = suite.counts["rows skipped"]
    with (apples / "validation-annotations-bbox-1.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rotated_ids = {"85cb6d41a18748b5", "7ddae3ac9ca6bce9", "4ac0687764ff6b0e", "953afc5a0dfdcf2f", "4e76464cd156798a", "0344cade36bbd4f4"}  # fmt: skip  # noqa: E501
    rotated_count = sum(r["ImageID"] in rotated_ids and r["IsGroupOf"] == "0" for r in rows)
    assert instances == len(rows) - skipped_count - rotated_count == 1955 - skipped_count - rotated_count


@needs_data
def test_boxes_agree_with_another_conversion_of_the_rows(apples) -> None:
    converted = json.loads((SHARED / "apple_subset" / "instances2_val2017.json").read_text("utf-8"))
    files = {image["id"]: image["file_name"].removesuffix(".jpg") for image in converted["images"]}
    boxes_by_image: dict[str, list[list[float]]] = {}
    for a in converted["annotations"]:
        boxes_by_image.setdefault(files[a["image_id"]], []).append(a["bbox"])
    for sample in build_toy_suite(apples).samples:
        boxes = np.array(boxes_by_image[sample.id.removeprefix("openimages-")])
        for instance in sample.layout.instances:
            x0, y0, x1, y1 = instance.box.to_pixels(sample.layout.canvas)
            distances = np.abs(boxes - (x0, y0, x1 - x0, y1 - y0)).max(1)
            assert distances.min() <= 0.011, sample.id


@needs_data
def test_real_hierarchy_has_600_classes_below_its_root(apples) -> None:
    tree = hierarchy.read_hierarchy(SHARED / "bbox_labels_600_hierarchy.json")
    assert len(tree.descendants("/m/0bl9f")) == 602
    assert sum(len(parents) > 1 for parents in tree.parents.values()) == 45
    names = build.read_classes(SHARED / "apple_subset" / "class-descriptions-boxable.csv")
    categories = vocabulary.coco_names(names, tree)
    category_by_name = {names[label]: name for label, name in categories.items()}
    assert (category_by_name["man"], category_by_name["canary"], category_by_name["mobile phone"]) == (
        "person",
        "bird",
        "cell phone",
    )
    assert set(vocabulary.COCO_SYNONYMS) <= set(names.values())
    assert set(categories.values()) == vocabulary.COCO_CATEGORIES


@needs_data
def test_real_images_without_rotation_and_with_unusual_titles_are_read(apples) -> None:
    suite = build_toy_suite(apples)
    samples_by_id = {s.id.removeprefix("openimages-"): s for s in suite.samples}
    with (apples / "validation-images-with-rotation-2.csv").open(newline="", encoding="utf-8") as file:
        rows_by_id = {row["ImageID"]: row for row in csv.DictReader(file)}
    ids_without_rotation = {name for name, row in rows_by_id.items() if not row["Rotation"]}
    assert len(ids_without_rotation) == 59
    flagged = {r.id for r in suite.records if r.reason == "rotation not stated"}
    assert flagged == ids_without_rotation & set(samples_by_id)
    for name in set(samples_by_id) & set(rows_by_id):
        assert f"({rows_by_id[name]['Author']})" in samples_by_id[name].provenance["licence"]


@needs_data
def test_real_boxes_over_the_whole_image_are_flagged_or_groups(apples) -> None:
    suite = build_toy_suite(apples)
    with (apples / "validation-annotations-bbox-1.csv").open(newline="") as file:
        rows = list(enumerate(csv.DictReader(file), start=2))
    lines = [n for n, r in rows if [float(r[c]) for c in ("XMin", "XMax", "YMin", "YMax")] == [0, 1, 0, 1]]
    assert len(lines) == 6
    for line in lines:
        (reason,) = [r.reason for r in suite.records if r.id == f"validation-annotations-bbox-1.csv line {line}"]
        assert reason in ("box covers the whole canvas", "a group is no single thing")


@needs_data
def test_real_rows_that_are_not_grouped_by_image(tmp_path) -> None:
    for path in (SHARED / "body_parts").glob("*.csv"):
        (tmp_path / path.name).symlink_to(path)
    suite = build_toy_suite(tmp_path)
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
    assert len(suite.categories) == 2, "classes without an instance are not categories of the suite"


@needs_data
def test_legacy_files_are_refused_or_read_by_label() -> None:
    with pytest.raises(LayoutmarkError, match="bbox_hierarchy.json: found a class without 'LabelName'"):
        hierarchy.read_hierarchy(SHARED / "legacy" / "bbox_hierarchy.json")
    names = build.read_classes(SHARED / "legacy" / "dict.csv")
    assert len(names) - len(set(names.values())) >= 74, "names are not unique"
