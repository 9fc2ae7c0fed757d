"""References cut from COCO's pictures: own crops in one suite, crops of other pictures in another."""

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


def picture(number: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def write(folder: Path, without: tuple[int, ...] = (), **more: Any) -> Path:
    things = []
    for number, (of, kind, (x, y, w, h)) in BOXES.items():
        mask = [[x, y, x + w, y, x + w, y + h]]
        things.append({"id": number, "image_id": of, "category_id": NAMES[kind], "bbox": [x, y, w, h],
                       "segmentation": mask, "iscrowd": 0})  # fmt: skip
    things.append(things[0] | {"id": 99, "bbox": [1, 1, 3, 3]})
    data = {
        "images": [{"id": n, "width": 80, "height": 60, "file_name": f"{n}.jpg"} | more for n in range(1, 5)],
        "annotations": things,
        "categories": [{"id": n, "name": name} for name, n in NAMES.items()],
    }
    for part in ("annotations", "images"):
        (folder / part).mkdir(exist_ok=True)
    (folder / "annotations" / "instances_toy.json").write_text(json.dumps(data), "utf-8")
    for number in range(1, 5):
        if number not in without:
            # The name says JPEG, the bytes are PNG: only so are the pixels known to the last bit.
            Image.fromarray(picture(number)).save(folder / "images" / f"{number}.jpg", "PNG")
    return folder


def built(name: str, source: Path) -> BuiltSuite:
    found: BuiltSuite = build.build_suite(name, source)
    return found


def pixels_of(number: int) -> np.ndarray[Any, Any]:
    of, _, (x, y, w, h) = BOXES[number]
    return picture(of)[y : y + h, x : x + w]


def test_own_crops(tmp_path) -> None:
    suite = built(SELF, write(tmp_path))
    shown = {reference.key: reference for reference in suite.references}
    assert [s.id for s in suite.samples] == [f"{SELF}-{n}" for n in range(1, 5)]
    for sample in suite.samples:
        assert sample.strata["reference"] == "own crop"
        for instance in sample.layout.instances:
            reference = shown[instance.reference]
            assert np.array_equal(reference.image, pixels_of(int(instance.id)))
            assert reference.category == instance.category
            assert reference.mask.shape == reference.image.shape[:2]
            assert 0.4 < reference.mask.mean() < 0.6
    assert "99" not in {i.id for i in suite.samples[0].layout.instances}
    assert suite.counts["images flagged: small instances left out of the layout"] == 1


def test_crops_of_other_pictures(tmp_path) -> None:
    suite = built(CROSS, write(tmp_path))
    shown = {reference.key: reference for reference in suite.references}
    assert [s.id for s in suite.samples] == [f"{CROSS}-{n}" for n in range(1, 4)]
    assert suite.counts["images skipped: no other picture shows a thing of one of its categories"] == 1
    for sample in suite.samples:
        assert sample.strata["reference"] == "crop of another picture"
        told = sample.provenance["references"].split("; ")
        for instance, donor in zip(sample.layout.instances, told, strict=True):
            number = int(donor.rpartition(" ")[2])
            assert BOXES[number][0] != int(sample.id.rpartition("-")[2])
            assert BOXES[number][1] == instance.category
            assert np.array_equal(shown[instance.reference].image, pixels_of(number))
    cats = [i.reference for i in suite.samples[0].layout.instances if i.category == "cat"]
    assert len(set(cats)) == 2


def test_the_choice_depends_on_no_order(tmp_path) -> None:
    source = write(tmp_path)
    first = built(CROSS, source)
    path = source / "annotations" / "instances_toy.json"
    data = json.loads(path.read_text())
    data["annotations"].reverse()
    path.write_text(json.dumps(data))

    def pairs(suite: BuiltSuite) -> set[tuple[str, str, str | None]]:
        return {(s.id, i.id, i.reference) for s in suite.samples for i in s.layout.instances}

    # Which of two cats takes a donor first follows the file, so only pictures with one of a kind are compared.
    one = {f"{CROSS}-3"}
    assert {p for p in pairs(first) if p[0] in one} == {p for p in pairs(built(CROSS, source)) if p[0] in one}


def test_pictures_that_are_not_there_damaged_or_of_another_size(tmp_path) -> None:
    source = write(tmp_path, without=(4,))
    (source / "images" / "3.jpg").write_bytes(b"no picture")
    suite = built(SELF, source)
    assert [s.id for s in suite.samples] == [f"{SELF}-1", f"{SELF}-2"]
    assert suite.counts["images skipped: its file of pixels is not there"] == 1
    assert suite.counts["images skipped: picture cannot be read"] == 1
    assert (
        built(SELF, write(tmp_path, width=81)).counts["images skipped: picture has another size than its record"] == 4
    )


def test_the_command_writes_them_beside(tmp_path, capsys) -> None:
    assert main(["suites", "build", SELF, "--source", str(write(tmp_path)), "--out", str(tmp_path / "out")]) == 0
    assert "4 samples, sha256" in capsys.readouterr().out
    suite = load_built_suite(tmp_path / "out")
    for sample in suite.samples:
        assert set(suite.references(sample.id)) == {i.reference for i in sample.layout.instances}


def test_the_two_are_two_suites_and_their_card_says_so() -> None:
    suites = Registry().suites()
    assert {SELF, CROSS} <= set(suites)
    assert any("No suite mixes the two" in note for note in suites[SELF].card.notes)


def test_real_files() -> None:
    if not (SHARED / "coco_mini_train2017").is_dir():
        pytest.skip("the gathered files are not beside the checkout")
    own = built(SELF, SHARED / "coco_mini_train2017")
    cross = built(CROSS, SHARED / "coco_mini_train2017")
    assert (len(own.samples), len(cross.samples)) == (17, 4)
    assert own.counts["images"] == cross.counts["images"] == 80
