"""References cropped from COCO's images: own crops in one suite, crops of other images in another."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from layoutmark.api import BuiltSuite
from layoutmark.cli.main import main
from layoutmark.registry import Registry
from layoutmark.suites import load_built_suite

build = importlib.import_module("layoutmark.datasets.coco.build")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "coco"
SELF, CROSS = "coco-references-self", "coco-references-cross"
BOXES = {11: (1, "cat", [8, 6, 40, 30]), 12: (1, "dog", [40, 20, 30, 30]), 13: (1, "cat", [50, 0, 20, 20]),
         21: (2, "cat", [0, 0, 20, 30]), 22: (2, "cat", [30, 0, 20, 30]),
         31: (3, "dog", [20, 20, 50, 30]), 41: (4, "owl", [20, 20, 50, 30])}  # fmt: skip
NAMES = {"cat": 1, "dog": 2, "owl": 3}


def make_image(number: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def write_source(folder: Path, missing_images: tuple[int, ...] = (), **image_fields: Any) -> Path:
    annotations = []
    for number, (image_id, category, (x, y, w, h)) in BOXES.items():
        mask = [[x, y, x + w, y, x + w, y + h]]
        annotations.append({"id": number, "image_id": image_id, "category_id": NAMES[category], "bbox": [x, y, w, h],
                       "segmentation": mask, "iscrowd": 0})  # fmt: skip
    annotations.append(annotations[0] | {"id": 99, "bbox": [1, 1, 3, 3]})
    data = {
        "images": [{"id": n, "width": 80, "height": 60, "file_name": f"{n}.jpg"} | image_fields for n in range(1, 5)],
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for name, n in NAMES.items()],
    }
    for folder_name in ("annotations", "images"):
        (folder / folder_name).mkdir(exist_ok=True)
    (folder / "annotations" / "instances_toy.json").write_text(json.dumps(data), "utf-8")
    for number in range(1, 5):
        if number not in missing_images:
            # A PNG file with a JPEG name, because JPEG would change the pixels.
            Image.fromarray(make_image(number)).save(folder / "images" / f"{number}.jpg", "PNG")
    return folder


def build_toy_suite(name: str, source: Path) -> BuiltSuite:
    suite: BuiltSuite = build.build_suite(name, source)
    return suite


def crop_pixels(number: int) -> np.ndarray[Any, Any]:
    image_id, _, (x, y, w, h) = BOXES[number]
    return make_image(image_id)[y : y + h, x : x + w]


def test_own_crops(tmp_path) -> None:
    suite = build_toy_suite(SELF, write_source(tmp_path))
    references = {reference.key: reference for reference in suite.references}
    assert [s.id for s in suite.samples] == [f"{SELF}-{n}" for n in range(1, 5)]
    for sample in suite.samples:
        assert sample.strata["reference"] == "own crop"
        for instance in sample.layout.instances:
            reference = references[instance.reference]
            assert np.array_equal(reference.image, crop_pixels(int(instance.id)))
            assert reference.category == instance.category
            assert reference.mask.shape == reference.image.shape[:2]
            assert 0.4 < reference.mask.mean() < 0.6
    assert "99" not in {i.id for i in suite.samples[0].layout.instances}
    assert suite.counts["images flagged: small instances left out of the layout"] == 1


def test_crops_of_other_images(tmp_path) -> None:
    suite = build_toy_suite(CROSS, write_source(tmp_path))
    references = {reference.key: reference for reference in suite.references}
    assert [s.id for s in suite.samples] == [f"{CROSS}-{n}" for n in range(1, 4)]
    assert suite.counts["images skipped: no other picture shows a thing of one of its categories"] == 1
    for sample in suite.samples:
        assert sample.strata["reference"] == "crop of another picture"
        origins = sample.provenance["references"].split("; ")
        for instance, donor in zip(sample.layout.instances, origins, strict=True):
            number = int(donor.rpartition(" ")[2])
            assert BOXES[number][0] != int(sample.id.rpartition("-")[2])
            assert BOXES[number][1] == instance.category
            assert np.array_equal(references[instance.reference].image, crop_pixels(number))
    cats = [i.reference for i in suite.samples[0].layout.instances if i.category == "cat"]
    assert len(set(cats)) == 2


def test_choice_of_references_does_not_depend_on_record_order(tmp_path) -> None:
    source = write_source(tmp_path)
    suite = build_toy_suite(CROSS, source)
    path = source / "annotations" / "instances_toy.json"
    data = json.loads(path.read_text())
    data["annotations"].reverse()
    path.write_text(json.dumps(data))

    def reference_triples(suite: BuiltSuite) -> set[tuple[str, str, str | None]]:
        return {(s.id, i.id, i.reference) for s in suite.samples for i in s.layout.instances}

    # Which of two cats gets a donor first depends on the file's order, so only images with one instance are compared.
    sample_ids = {f"{CROSS}-3"}
    assert {p for p in reference_triples(suite) if p[0] in sample_ids} == {
        p for p in reference_triples(build_toy_suite(CROSS, source)) if p[0] in sample_ids
    }


def test_missing_damaged_and_resized_images_are_skipped(tmp_path) -> None:
    source = write_source(tmp_path, missing_images=(4,))
    (source / "images" / "3.jpg").write_bytes(b"no picture")
    suite = build_toy_suite(SELF, source)
    assert [s.id for s in suite.samples] == [f"{SELF}-1", f"{SELF}-2"]
    assert suite.counts["images skipped: its file of pixels is not there"] == 1
    assert suite.counts["images skipped: picture cannot be read"] == 1
    assert (
        build_toy_suite(SELF, write_source(tmp_path, width=81)).counts[
            "images skipped: picture has another size than its record"
        ]
        == 4
    )


def test_build_command_writes_references(tmp_path, capsys) -> None:
    assert main(["suites", "build", SELF, "--source", str(write_source(tmp_path)), "--out", str(tmp_path / "out")]) == 0
    assert "4 samples, sha256" in capsys.readouterr().out
    suite = load_built_suite(tmp_path / "out")
    for sample in suite.samples:
        assert set(suite.references(sample.id)) == {i.reference for i in sample.layout.instances}


def test_card_says_that_self_and_cross_are_separate_suites() -> None:
    suites = Registry().suites()
    assert {SELF, CROSS} <= set(suites)
    assert any("No suite mixes the two" in note for note in suites[SELF].card.notes)


def test_real_files() -> None:
    if not (SHARED / "coco_mini_train2017").is_dir():
        pytest.skip("the shared data files are not available")
    self_suite = build_toy_suite(SELF, SHARED / "coco_mini_train2017")
    cross_suite = build_toy_suite(CROSS, SHARED / "coco_mini_train2017")
    assert (len(self_suite.samples), len(cross_suite.samples)) == (17, 4)
    assert self_suite.counts["images"] == cross_suite.counts["images"] == 80
