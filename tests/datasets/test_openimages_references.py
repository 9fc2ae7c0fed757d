"""References cropped from Open Images: own crops in one suite, crops of other images in another."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from layoutmark.api import BuiltSuite
from layoutmark.registry import Registry

build = importlib.import_module("layoutmark.datasets.openimages.build")
SELF, CROSS = "openimages-references-self", "openimages-references-cross"
CLASSES = {"/m/p": "Person", "/m/m": "Man", "/m/c": "Car"}
HIERARCHY = {"LabelName": "/m/0", "Subcategory": [
    {"LabelName": "/m/p", "Subcategory": [{"LabelName": "/m/m"}]}, {"LabelName": "/m/c"}]}  # fmt: skip
HEADER = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
ROWS = [("a", "/m/c", 0.0, 0.5, 0.0, 0.5), ("a", "/m/m", 0.5, 1.0, 0.0, 1.0), ("a", "/m/c", 0.0, 0.5, 0.5, 1.0),
        ("b", "/m/c", 0.25, 0.75, 0.25, 0.75), ("c", "/m/m", 0.0, 0.25, 0.0, 1.0), ("d", "/m/p", 0.0, 0.5, 0.0, 1.0),
        ("e", "/m/c", 0.0, 0.5, 0.0, 0.5)]  # fmt: skip


def make_image(name: str) -> np.ndarray[Any, Any]:
    return np.random.default_rng(ord(name)).integers(0, 256, (40, 80, 3), dtype=np.uint8)


def write_source(folder: Path, sizes: str = "") -> Path:
    rows = "".join(f"{i},x,{label},1,{','.join(map(str, box))},0,0,0,0,0\n" for i, label, *box in ROWS)
    (folder / "validation-annotations-bbox.csv").write_text(f"{HEADER}\n{rows}", "utf-8")
    classes = "".join(f"{label},{name}\n" for label, name in CLASSES.items())
    (folder / "class-descriptions-boxable.csv").write_text(classes, "utf-8")
    (folder / "bbox_labels_600_hierarchy.json").write_text(json.dumps(HIERARCHY), "utf-8")
    if sizes:
        (folder / "validation-sizes.csv").write_text("image_id,image_w,image_h\n" + sizes, "utf-8")
    (folder / "images").mkdir(exist_ok=True)
    for name in "abcd":
        # A PNG file with a JPEG name, because JPEG would change the pixels.
        Image.fromarray(make_image(name)).save(folder / "images" / f"{name}.jpg", "PNG")
    return folder


def build_toy_suite(name: str, source: Path) -> BuiltSuite:
    suite: BuiltSuite = build.build_suite(name, source)
    return suite


def test_own_crops_and_canvas_from_the_image_file(tmp_path) -> None:
    suite = build_toy_suite(SELF, write_source(tmp_path))
    references = {reference.key: reference for reference in suite.references}
    assert [s.id for s in suite.samples] == [f"{SELF}-{name}" for name in "abcd"]
    assert suite.counts["pictures skipped: its file of pixels is not there"] == 1
    for sample in suite.samples:
        assert (sample.layout.canvas.width, sample.layout.canvas.height) == (80, 40)
        assert sample.strata["reference"] == "own crop"
        for instance in sample.layout.instances:
            x0, y0, x1, y1 = (round(v) for v in instance.box.to_pixels(sample.layout.canvas))
            assert np.array_equal(references[instance.reference].image, make_image(sample.id[-1])[y0:y1, x0:x1])


def test_crops_of_other_images_show_the_same_class(tmp_path) -> None:
    """The reference of a man is a man and not a person, although both have the category person."""
    suite = build_toy_suite(CROSS, write_source(tmp_path))
    assert [s.id for s in suite.samples] == [f"{CROSS}-{name}" for name in "abc"]
    assert suite.counts["pictures skipped: no other picture shows a thing of one of its categories"] == 1
    cars = [i for i in suite.samples[0].layout.instances if i.phrase == "car"]
    assert len({i.reference for i in cars}) == 1, "only one other image shows a car"
    (man,) = suite.samples[2].layout.instances
    reference = next(r for r in suite.references if r.key == man.reference)
    assert (man.category, man.phrase) == ("person", "man")
    assert np.array_equal(reference.image, make_image("a")[:, 40:])
    assert suite.samples[2].provenance["references"] == "picture a, thing 1"


def test_damaged_and_resized_images_are_skipped(tmp_path) -> None:
    source = write_source(tmp_path, "a,80,40\nb,80,41\n")
    (source / "images" / "c.jpg").write_bytes(b"no picture")
    suite = build_toy_suite(SELF, source)
    assert [s.id[-1] for s in suite.samples] == ["a", "d"]
    assert suite.counts["pictures skipped: picture has another size than its record"] == 1
    assert suite.counts["pictures skipped: picture cannot be read"] == 1


@pytest.mark.parametrize("form", ["coco", "openimages"])
def test_no_suite_mixes_own_crops_with_others(form: str) -> None:
    suites = Registry().suites()
    assert {f"{form}-references-self", f"{form}-references-cross"} <= set(suites)
    assert any("No suite mixes the two" in note for note in suites[f"{form}-references-self"].card.notes)
