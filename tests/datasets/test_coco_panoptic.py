"""COCO's panoptic form, and names of stuff as phrases."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from layoutmark.api import BuiltSuite
from layoutmark.errors import LayoutmarkError

build, stuff = (importlib.import_module(f"layoutmark.datasets.coco.{name}") for name in ("build", "stuff"))
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "coco"
NAMES = {1: "cat", 2: "sky-other-merged", 3: "wall-brick"}
SIZE = (40, 30)
CAT, SKY = 70_000, 300
"""Segment ids beyond one and two bytes."""


def segment(number: Any, category: Any = 1, **more: Any) -> dict[str, Any]:
    return {"id": number, "category_id": category, "iscrowd": 0, "bbox": [10, 5, 20, 10], "area": 200} | more


def painted() -> np.ndarray[Any, Any]:
    ids = np.full(SIZE[::-1], SKY)
    ids[5:15, 10:30] = CAT
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)


def write(folder: Path, segments: Any, picture: np.ndarray[Any, Any] | None) -> Path:
    (folder / "panoptic_toy").mkdir(exist_ok=True)
    if picture is not None:
        Image.fromarray(picture).save(folder / "panoptic_toy" / "1.png")
    data = {
        "images": [{"id": 1, "width": SIZE[0], "height": SIZE[1], "file_name": "1.jpg"}],
        "annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": segments}],
        "categories": [{"id": i, "name": n, "isthing": int(i == 1)} for i, n in NAMES.items()],
    }
    (folder / "panoptic_toy.json").write_text(json.dumps(data), "utf-8")
    return folder


def built(folder: Path, segments: Any, picture: np.ndarray[Any, Any] | None = None) -> BuiltSuite:
    found: BuiltSuite = build.build_suite("coco-panoptic", write(folder, segments, picture))
    return found


def test_things_and_stuff_with_their_masks(tmp_path) -> None:
    (sample,) = built(tmp_path, [segment(CAT), segment(SKY, 2, bbox=[0, 0, 40, 30])], painted()).samples
    cat, sky = sample.layout.instances
    assert (cat.phrase, cat.category, cat.box.xyxy) == ("cat", "cat", (0.25, 5 / 30, 0.75, 0.5))
    assert (sky.phrase, sky.category) == ("sky", "sky-other-merged")
    assert sample.prompt == "a photo of a cat and a sky"
    assert np.array_equal(cat.mask.array(), ~sky.mask.array())
    assert cat.mask.array().sum() == 200
    x, y = sky.point
    assert sky.mask.array()[int(y * 30), int(x * 40)]


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        (segment(9), "repaired: mask left out: no pixel has its id"),
        (segment(9, bbox=[35, 5, 20, 10]), "repaired: box cut at the edge of the canvas"),
        (segment(9, bbox=[1, 2, 0, 3]), "skipped: box has no area"),
        (segment(9, bbox=None), "skipped: bbox is not 4 numbers"),
        (segment(SKY, 2), "flagged: box covers the whole canvas"),
        (segment(SKY, 7), "skipped: of a category that is not there"),
        (segment(SKY, iscrowd=1), "skipped: a crowd is no single thing"),
        (segment("x"), "skipped: id is no whole number"),
        (segment(CAT), "skipped: id used before"),
        (3, "skipped: not an object"),
    ],
)
def test_every_odd_segment_ends_as_declared(tmp_path, record: Any, outcome: str) -> None:
    suite = built(tmp_path, [segment(CAT), record], painted())
    assert suite.counts["segments"] == 2
    assert suite.counts[f"segments {outcome}"] == 1


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (None, "no picture of its segments"),
        (np.zeros((3, 3, 3), np.uint8), "picture of its segments has another size"),
    ],
)
def test_without_a_usable_picture_boxes_stay(tmp_path, picture: Any, reason: str) -> None:
    suite = built(tmp_path, [segment(CAT)], picture)
    (instance,) = suite.samples[0].layout.instances
    assert instance.mask is None
    assert instance.box.xyxy == (0.25, 5 / 30, 0.75, 0.5)
    assert suite.counts[f"segments repaired: mask left out: {reason}"] == 1


def test_a_damaged_picture_and_a_name_that_leaves_the_folder(tmp_path) -> None:
    write(tmp_path, [segment(CAT)], painted())
    (tmp_path / "panoptic_toy" / "1.png").write_bytes(b"no picture")
    suite = build.build_suite("coco-panoptic", tmp_path)
    assert suite.counts["segments repaired: mask left out: picture of its segments cannot be read"] == 1
    data = json.loads((tmp_path / "panoptic_toy.json").read_text())
    data["annotations"][0]["file_name"] = "../../panoptic_toy/1.png"
    Image.fromarray(painted()).save(tmp_path / "panoptic_toy" / "1.png")
    (tmp_path / "panoptic_toy.json").write_text(json.dumps(data))
    assert build.build_suite("coco-panoptic", tmp_path).samples[0].layout.instances[0].mask is not None


def test_a_file_of_another_form_is_refused(tmp_path) -> None:
    (tmp_path / "panoptic_x.json").write_text("[]")
    with pytest.raises(LayoutmarkError, match=r"panoptic_x\.json: found a list; expected an object"):
        build.build_suite("coco-panoptic", tmp_path)
    with pytest.raises(LayoutmarkError, match=r"no panoptic_\*\.json"):
        build.build_suite("coco-panoptic", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("hot dog", "hot dog"), ("wall-brick", "brick wall"), ("wall-other-merged", "wall"), ("tree-merged", "tree"),
        ("window-blind", "window blind"), ("mirror-stuff", "mirror"), ("floor-wood", "wood floor"), ("other", "other"),
        ("playingfield", "playing field"), ("food-other-merged", "food"), ("", ""),
    ],
)  # fmt: skip
def test_stuff_is_said_in_words(name: str, phrase: str) -> None:
    assert stuff.phrase_of(name) == phrase


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(CAT),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["id", "category_id", "bbox", "iscrowd"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON, JSON, st.sampled_from(["id", "category_id", "bbox", "iscrowd"]), st.integers(0, 2**24 - 1))
def test_nothing_but_an_error_of_ours_comes_out(tmp_path, whole: Any, part: Any, spoilt: str, colour: int) -> None:
    picture = painted()
    picture[0, 0] = [colour % 256, colour // 256 % 256, colour // 65536]
    suite = built(tmp_path, [segment(CAT), whole, segment(SKY, 2) | {spoilt: part}], picture)
    assert suite.counts["segments"] == 3
    assert suite.samples


@pytest.mark.parametrize(
    ("place", "segments", "crowds"),
    [("coco128_train2017/panoptic", 1111, 6), ("panopticapi/panoptic_examples.json", 50, 3)],
)
def test_real_files(place: str, segments: int, crowds: int) -> None:
    if not (SHARED / place).exists():
        pytest.skip("the gathered files are not beside the checkout")
    suite = build.build_suite("coco-panoptic", SHARED / place)
    assert suite.counts["segments"] == segments
    assert suite.counts["segments skipped: a crowd is no single thing"] == crowds
    assert suite.counts["segments kept"] == segments - crowds
    assert all(instance.mask is not None for sample in suite.samples for instance in sample.layout.instances)
