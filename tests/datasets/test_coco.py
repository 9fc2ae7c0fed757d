"""The suites of COCO: reading, repairs and skips, and the selection of images."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layoutmark.api import BuiltSuite
from layoutmark.cli.main import main
from layoutmark.errors import LayoutmarkError
from layoutmark.ingest.ledger import Ledger
from layoutmark.layout import Mask

build, annotations, selection = (
    importlib.import_module(f"layoutmark.datasets.coco.{name}") for name in ("build", "annotations", "selection")
)
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "coco"
NAMES = {1: "cat", 2: "dog", 7: "hot dog"}


def image_record(number: Any, **fields: Any) -> dict[str, Any]:
    return {"id": number, "width": 80, "height": 60, "license": 4, "flickr_url": f"http://f/{number}"} | fields


def annotation_record(number: Any, image_id: Any = 1, category: Any = 1, **fields: Any) -> dict[str, Any]:
    x, y, w, h = fields.setdefault("bbox", [8, 6, 40, 30])
    square = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return {"id": number, "image_id": image_id, "category_id": category, "iscrowd": 0, "segmentation": square} | fields


def caption_record(number: Any, text: Any, image_id: Any = 1) -> dict[str, Any]:
    return {"id": number, "image_id": image_id, "caption": text}


def write_source(folder: Path, images: list[Any], annotations: list[Any], captions: list[Any] | None = None) -> Path:
    data = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": n} for i, n in NAMES.items()],
        "licenses": [{"id": 4, "name": "Attribution License"}],
    }
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / "instances_toy.json").write_text(json.dumps(data), "utf-8")
    if captions is not None:
        captions_json = json.dumps({"annotations": captions})
        (folder / "annotations" / "captions_toy.json").write_text(captions_json, "utf-8")
    return folder


def build_toy_suite(folder: Path, *records: Any, suite: str = "coco-val2017") -> BuiltSuite:
    suite_built: BuiltSuite = build.build_suite(suite, write_source(folder, *records))
    return suite_built


def test_image_with_complete_records(tmp_path) -> None:
    suite = build_toy_suite(
        tmp_path,
        [image_record(1)],
        [annotation_record(5), annotation_record(6, category=2)],
        [caption_record(1, " a cat\n and a dog "), caption_record(2, "x")],
    )
    (sample,) = suite.samples
    assert (sample.id, sample.prompt) == ("coco-val2017-1", "a cat and a dog")
    assert (sample.layout.canvas.width, sample.layout.canvas.height) == (80, 60)
    cat = sample.layout.instances[0]
    assert (cat.id, cat.category, cat.box.xyxy) == ("5", "cat", (0.1, 0.1, 0.6, 0.6))
    assert cat.mask is not None
    filled = cat.mask.to_array()
    assert filled.sum() == 40 * 30
    for x, y in (cat.point, *cat.scribble):
        assert filled[int(y * 60), int(x * 80)]
    assert sample.provenance["licence"].startswith("picture: Attribution License; annotations CC-BY-4.0")
    assert sample.provenance["url"] == "http://f/1"
    assert sample.strata["count"] == "2"
    assert suite.counts["captions repaired: stray blanks"] == 1


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        (annotation_record(5, iscrowd=1), "skipped: a crowd is no single thing"),
        (annotation_record(5, image_id=9), "skipped: of an image that is not there"),
        (annotation_record(5, category=3), "skipped: of a category that is not there"),
        (annotation_record(5, bbox=[1, 1, 0, 9]), "skipped: box has no area"),
        (annotation_record(5, bbox=[1, 1, -3, 9]), "skipped: box is inverted"),
        (annotation_record(5, bbox=[100, 1, 9, 9]), "skipped: box lies outside the canvas"),
        (annotation_record(5, bbox=[70, 1, 20, 9]), "repaired: box cut at the edge of the canvas"),
        (annotation_record(5) | {"bbox": [1, 2, float("nan"), 4]}, "skipped: bbox is no finite number"),
        (annotation_record(5) | {"bbox": [1, 2, 10**400, 4]}, "skipped: bbox is no finite number"),
        (annotation_record(5) | {"bbox": None}, "skipped: bbox is not 4 numbers"),
        (
            annotation_record(5, segmentation=[[1, 2, 3, 4]]),
            "repaired: mask left out: polygon has fewer than three points",
        ),
        (
            annotation_record(5, segmentation={"size": [9, 9], "counts": [81]}),
            "repaired: mask left out: mask has another size than its picture",
        ),
        ({k: v for k, v in annotation_record(5).items() if k != "bbox"}, "repaired: box taken from the mask"),
        ({k: v for k, v in annotation_record(5).items() if k != "id"}, "skipped: no field 'id'"),
        (annotation_record(""), "skipped: id is empty"),
        (annotation_record(4), "skipped: id used before"),
        ("nonsense", "skipped: not an object"),
    ],
)  # fmt: skip
def test_outcome_of_irregular_annotations(tmp_path, record: Any, outcome: str) -> None:
    suite = build_toy_suite(tmp_path, [image_record(1)], [annotation_record(4), record])
    assert suite.counts["annotations"] == 2
    assert suite.counts[f"annotations {outcome}"] == 1
    assert any(outcome.partition(": ")[2] in entry.reason for entry in suite.records)


def test_ids_of_any_kind_are_kept(tmp_path) -> None:
    names = [0, "abc", 2**60 + 1, 2**60]
    suite = build_toy_suite(
        tmp_path, [image_record(n) for n in names], [annotation_record(k, image_id=n) for k, n in enumerate(names)]
    )
    assert [s.id for s in suite.samples] == [f"coco-val2017-{n}" for n in names]


def test_irregular_images_are_counted(tmp_path) -> None:
    images = [
        image_record(1),
        image_record(1),
        image_record(2, width=0),
        image_record(3),
        {"id": 4},
        image_record(True),
    ]
    suite = build_toy_suite(tmp_path, images, [annotation_record(1)])
    assert [s.id for s in suite.samples] == ["coco-val2017-1"]
    assert suite.counts["images"] == len(images)
    reasons = {e.reason for e in suite.records if e.kind == "image" and e.outcome == "skipped"}
    assert reasons >= {"id used before", "no usable instance", "no field 'width'", "id is no whole number"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "invalid JSON"),
        ("[]", "found a list; expected an object"),
        ('{"images": {}, "annotations": [], "categories": []}', "images: found a dict; expected a list"),
        ('{"images": [], "annotations": 3, "categories": []}', "annotations: found an int; expected a list"),
    ],
)
def test_unreadable_files_are_refused(tmp_path, content: str, message: str) -> None:
    (tmp_path / "instances_x.json").write_text(content)
    with pytest.raises(LayoutmarkError, match=message):
        build.build_suite("coco-val2017", tmp_path)


def test_fractions_instead_of_pixels_are_refused(tmp_path) -> None:
    annotations = [annotation_record(n, bbox=[0.1, 0.1, 0.5, 0.5]) for n in range(3)]
    with pytest.raises(LayoutmarkError, match=r"bbox: found no number above 0\.5; expected pixels"):
        build_toy_suite(tmp_path, [image_record(1)], annotations)


def test_missing_file_and_unknown_suite_are_refused(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match=r"no instances_\*\.json"):
        build.build_suite("coco-200", tmp_path)
    with pytest.raises(LayoutmarkError, match="coco-300"):
        build.build_suite("coco-300", tmp_path)


def test_selection_rules(tmp_path) -> None:
    images = [image_record(n) for n in range(1, 6)]
    annotations = [
        annotation_record(1), annotation_record(2, category=7),
        annotation_record(3, image_id=2), annotation_record(4, image_id=2),
        annotation_record(5, image_id=3, bbox=[0, 0, 4, 4]),
        *[annotation_record(10 + n, image_id=4, category=2) for n in range(7)],
        *[annotation_record(20 + n, image_id=5, category=1 + n % 2) for n in range(31)],
    ]  # fmt: skip
    captions = [
        caption_record(1, "a cat"),
        caption_record(2, "a Cat eats a hot dog"),
        caption_record(3, "two cats", 2),
        caption_record(4, "a cat", 3),
    ]
    simple_suite = build_toy_suite(tmp_path, images, annotations, captions, suite="coco-200")
    assert [(s.id, s.prompt) for s in simple_suite.samples] == [("coco-200-1", "a Cat eats a hot dog")]
    mig_suite = build_toy_suite(tmp_path, images, annotations, captions, suite="coco-mig-like")
    assert [s.prompt for s in mig_suite.samples] == ["a photo of a cat and a hot dog", "a photo of a cat"]
    published_suite = build_toy_suite(tmp_path, images, annotations, captions, suite="coco-instancediffusion")
    assert [len(s.layout.instances) for s in published_suite.samples] == [2, 2, 1, 7, 30]
    assert published_suite.samples[0].prompt == "a catcat, hot dog"
    assert {s.layout.canvas.width for s in published_suite.samples} == {512}


def test_full_suite_takes_the_same_images_in_any_order() -> None:
    def make_selection(number: int) -> Any:
        return selection.Selection("x", (), annotations.Canvas(8, 8), group=str(number % 5))

    candidates = {str(n): make_selection(n) for n in range(2_000)}
    chosen_ids = selection.choose_images("coco-mig-like", candidates)
    assert Counter(int(n) % 5 for n in chosen_ids) == dict.fromkeys(range(5), 160)
    assert selection.choose_images("coco-mig-like", dict(reversed(candidates.items()))) == chosen_ids
    assert len(selection.choose_images("coco-val2017", candidates)) == 2_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["id", "image_id", "category_id", "bbox", "segmentation", "iscrowd", "size", "counts", "width", "height"]
    ), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    image=JSON, annotation=JSON, caption=JSON, broken_field=st.sampled_from(["bbox", "segmentation", "id", "image_id"])
)
def test_arbitrary_records_raise_nothing_but_layoutmark_errors(
    tmp_path_factory, image, annotation, caption, broken_field
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    annotations = [annotation_record(1), annotation, annotation_record(2) | {broken_field: annotation}]
    try:
        suite = build_toy_suite(folder, [image_record(1), image], annotations, [caption_record(1, "a cat"), caption])
    except LayoutmarkError:
        return
    assert suite.counts["annotations"] == 3
    assert suite.samples


def test_build_command(tmp_path, capsys) -> None:
    source = write_source(tmp_path, [image_record(1)], [annotation_record(1)], [caption_record(1, "a cat")])
    assert main(["suites", "build", "coco-val2017", "--source", str(source), "--out", str(tmp_path / "out")]) == 0
    output = capsys.readouterr().out
    assert "annotations kept: 1" in output
    assert "1 samples, sha256" in output


def test_real_files() -> None:
    folder = SHARED / "coco_mini_train2017"
    if not folder.is_dir():
        pytest.skip("the shared data files are not available")
    ledger = Ledger()
    annotation_file = annotations.read_instances(folder, ledger)
    assert len(annotation_file.images) == 80
    assert ledger.counts["annotations"] == 739
    assert ledger.counts["annotations skipped: a crowd is no single thing"] == 8
    assert ledger.counts["captions"] == 400
    for image in annotation_file.images:
        for instance in image.instances:
            assert isinstance(instance.mask, Mask)
            x, y = instance.point
            assert instance.mask.to_array()[int(y * image.canvas.height), int(x * image.canvas.width)]
            assert np.isfinite(instance.box.xyxy).all()
