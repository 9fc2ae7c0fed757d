"""COCO's panoptic format, and phrases for names of stuff."""

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
"""Segment ids that need more than two bytes and more than one byte."""


def segment_record(number: Any, category: Any = 1, **fields: Any) -> dict[str, Any]:
    return {"id": number, "category_id": category, "iscrowd": 0, "bbox": [10, 5, 20, 10], "area": 200} | fields


def paint_segments() -> np.ndarray[Any, Any]:
    ids = np.full(SIZE[::-1], SKY)
    ids[5:15, 10:30] = CAT
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)


def write_source(folder: Path, segments: Any, segment_image: np.ndarray[Any, Any] | None) -> Path:
    (folder / "panoptic_toy").mkdir(exist_ok=True)
    if segment_image is not None:
        Image.fromarray(segment_image).save(folder / "panoptic_toy" / "1.png")
    data = {
        "images": [{"id": 1, "width": SIZE[0], "height": SIZE[1], "file_name": "1.jpg"}],
        "annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": segments}],
        "categories": [{"id": i, "name": n, "isthing": int(i == 1)} for i, n in NAMES.items()],
    }
    (folder / "panoptic_toy.json").write_text(json.dumps(data), "utf-8")
    return folder


def build_toy_suite(folder: Path, segments: Any, segment_image: np.ndarray[Any, Any] | None = None) -> BuiltSuite:
    suite: BuiltSuite = build.build_suite("coco-panoptic", write_source(folder, segments, segment_image))
    return suite


def test_things_and_stuff_with_their_masks(tmp_path) -> None:
    (sample,) = build_toy_suite(
        tmp_path, [segment_record(CAT), segment_record(SKY, 2, bbox=[0, 0, 40, 30])], paint_segments()
    ).samples
    cat, sky = sample.layout.instances
    assert (cat.phrase, cat.category, cat.box.xyxy) == ("cat", "cat", (0.25, 5 / 30, 0.75, 0.5))
    assert (sky.phrase, sky.category) == ("sky", "sky-other-merged")
    assert sample.prompt == "a photo of a cat and a sky"
    assert np.array_equal(cat.mask.to_array(), ~sky.mask.to_array())
    assert cat.mask.to_array().sum() == 200
    x, y = sky.point
    assert sky.mask.to_array()[int(y * 30), int(x * 40)]


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        (segment_record(9), "repaired: mask left out: no pixel has its id"),
        (segment_record(9, bbox=[35, 5, 20, 10]), "repaired: box cut at the edge of the canvas"),
        (segment_record(9, bbox=[1, 2, 0, 3]), "skipped: box has no area"),
        (segment_record(9, bbox=None), "skipped: bbox is not 4 numbers"),
        (segment_record(SKY, 2), "flagged: box covers the whole canvas"),
        (segment_record(SKY, 7), "skipped: of a category that is not there"),
        (segment_record(SKY, iscrowd=1), "skipped: a crowd is no single thing"),
        (segment_record("x"), "skipped: id is no whole number"),
        (segment_record(CAT), "skipped: id used before"),
        (3, "skipped: not an object"),
    ],
)
def test_outcome_of_irregular_segments(tmp_path, record: Any, outcome: str) -> None:
    suite = build_toy_suite(tmp_path, [segment_record(CAT), record], paint_segments())
    assert suite.counts["segments"] == 2
    assert suite.counts[f"segments {outcome}"] == 1


@pytest.mark.parametrize(
    ("segment_image", "reason"),
    [
        (None, "no picture of its segments"),
        (np.zeros((3, 3, 3), np.uint8), "picture of its segments has another size"),
    ],
)
def test_boxes_are_kept_without_a_usable_segment_image(tmp_path, segment_image: Any, reason: str) -> None:
    suite = build_toy_suite(tmp_path, [segment_record(CAT)], segment_image)
    (instance,) = suite.samples[0].layout.instances
    assert instance.mask is None
    assert instance.box.xyxy == (0.25, 5 / 30, 0.75, 0.5)
    assert suite.counts[f"segments repaired: mask left out: {reason}"] == 1


def test_damaged_segment_image_and_file_name_outside_the_folder(tmp_path) -> None:
    write_source(tmp_path, [segment_record(CAT)], paint_segments())
    (tmp_path / "panoptic_toy" / "1.png").write_bytes(b"no picture")
    suite = build.build_suite("coco-panoptic", tmp_path)
    assert suite.counts["segments repaired: mask left out: picture of its segments cannot be read"] == 1
    data = json.loads((tmp_path / "panoptic_toy.json").read_text())
    data["annotations"][0]["file_name"] = "../../panoptic_toy/1.png"
    Image.fromarray(paint_segments()).save(tmp_path / "panoptic_toy" / "1.png")
    (tmp_path / "panoptic_toy.json").write_text(json.dumps(data))
    assert build.build_suite("coco-panoptic", tmp_path).samples[0].layout.instances[0].mask is not None


def test_file_in_another_format_is_refused(tmp_path) -> None:
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
def test_phrases_of_stuff(name: str, phrase: str) -> None:
    assert stuff.category_phrase(name) == phrase


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
def test_arbitrary_segments_raise_no_other_errors(
    tmp_path, segment: Any, value: Any, broken_field: str, colour: int
) -> None:
    segment_image = paint_segments()
    segment_image[0, 0] = [colour % 256, colour // 256 % 256, colour // 65536]
    suite = build_toy_suite(
        tmp_path, [segment_record(CAT), segment, segment_record(SKY, 2) | {broken_field: value}], segment_image
    )
    assert suite.counts["segments"] == 3
    assert suite.samples


@pytest.mark.parametrize(
    ("path", "segments", "crowds"),
    [("coco128_train2017/panoptic", 1111, 6), ("panopticapi/panoptic_examples.json", 50, 3)],
)
def test_real_files(path: str, segments: int, crowds: int) -> None:
    if not (SHARED / path).exists():
        pytest.skip("the shared data files are not available")
    suite = build.build_suite("coco-panoptic", SHARED / path)
    assert suite.counts["segments"] == segments
    assert suite.counts["segments skipped: a crowd is no single thing"] == crowds
    assert suite.counts["segments kept"] == segments - crowds
    assert all(instance.mask is not None for sample in suite.samples for instance in sample.layout.instances)
