"""The suites of COCO: what is read, what is repaired or skipped, and which pictures a suite takes."""

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


def image(number: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "width": 80, "height": 60, "license": 4, "flickr_url": f"http://f/{number}"} | more


def thing(number: Any, of: Any = 1, category: Any = 1, **more: Any) -> dict[str, Any]:
    x, y, w, h = more.setdefault("bbox", [8, 6, 40, 30])
    square = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return {"id": number, "image_id": of, "category_id": category, "iscrowd": 0, "segmentation": square} | more


def caption(number: Any, said: Any, of: Any = 1) -> dict[str, Any]:
    return {"id": number, "image_id": of, "caption": said}


def write(folder: Path, images: list[Any], things: list[Any], captions: list[Any] | None = None) -> Path:
    data = {
        "images": images,
        "annotations": things,
        "categories": [{"id": i, "name": n} for i, n in NAMES.items()],
        "licenses": [{"id": 4, "name": "Attribution License"}],
    }
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / "instances_toy.json").write_text(json.dumps(data), "utf-8")
    if captions is not None:
        told = json.dumps({"annotations": captions})
        (folder / "annotations" / "captions_toy.json").write_text(told, "utf-8")
    return folder


def built(folder: Path, *parts: Any, suite: str = "coco-val2017") -> BuiltSuite:
    found: BuiltSuite = build.build_suite(suite, write(folder, *parts))
    return found


def test_a_picture_with_all_that_is_known(tmp_path) -> None:
    suite = built(
        tmp_path, [image(1)], [thing(5), thing(6, category=2)], [caption(1, " a cat\n and a dog "), caption(2, "x")]
    )
    (sample,) = suite.samples
    assert (sample.id, sample.prompt) == ("coco-val2017-1", "a cat and a dog")
    assert (sample.layout.canvas.width, sample.layout.canvas.height) == (80, 60)
    first = sample.layout.instances[0]
    assert (first.id, first.category, first.box.xyxy) == ("5", "cat", (0.1, 0.1, 0.6, 0.6))
    assert first.mask is not None
    filled = first.mask.array()
    assert filled.sum() == 40 * 30
    for x, y in (first.point, *first.scribble):
        assert filled[int(y * 60), int(x * 80)]
    assert sample.provenance["licence"].startswith("picture: Attribution License; annotations CC-BY-4.0")
    assert sample.provenance["url"] == "http://f/1"
    assert sample.strata["count"] == "2"
    assert suite.counts["captions repaired: stray blanks"] == 1


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        (thing(5, iscrowd=1), "skipped: a crowd is no single thing"),
        (thing(5, of=9), "skipped: of an image that is not there"),
        (thing(5, category=3), "skipped: of a category that is not there"),
        (thing(5, bbox=[1, 1, 0, 9]), "skipped: box has no area"),
        (thing(5, bbox=[1, 1, -3, 9]), "skipped: box is inverted"),
        (thing(5, bbox=[100, 1, 9, 9]), "skipped: box lies outside the canvas"),
        (thing(5, bbox=[70, 1, 20, 9]), "repaired: box cut at the edge of the canvas"),
        (thing(5) | {"bbox": [1, 2, float("nan"), 4]}, "skipped: bbox is no finite number"),
        (thing(5) | {"bbox": [1, 2, 10**400, 4]}, "skipped: bbox is no finite number"),
        (thing(5) | {"bbox": None}, "skipped: bbox is not 4 numbers"),
        (thing(5, segmentation=[[1, 2, 3, 4]]), "repaired: mask left out: polygon has fewer than three points"),
        (
            thing(5, segmentation={"size": [9, 9], "counts": [81]}),
            "repaired: mask left out: mask has another size than its picture",
        ),
        ({k: v for k, v in thing(5).items() if k != "bbox"}, "repaired: box taken from the mask"),
        ({k: v for k, v in thing(5).items() if k != "id"}, "skipped: no field 'id'"),
        (thing(""), "skipped: id is empty"),
        (thing(4), "skipped: id used before"),
        ("nonsense", "skipped: not an object"),
    ],
)  # fmt: skip
def test_every_odd_annotation_ends_as_declared(tmp_path, record: Any, outcome: str) -> None:
    suite = built(tmp_path, [image(1)], [thing(4), record])
    assert suite.counts["annotations"] == 2
    assert suite.counts[f"annotations {outcome}"] == 1
    assert any(outcome.partition(": ")[2] in entry.reason for entry in suite.records)


def test_ids_of_any_kind_stay_what_they_are(tmp_path) -> None:
    names = [0, "abc", 2**60 + 1, 2**60]
    suite = built(tmp_path, [image(n) for n in names], [thing(k, of=n) for k, n in enumerate(names)])
    assert [s.id for s in suite.samples] == [f"coco-val2017-{n}" for n in names]


def test_odd_pictures_are_counted(tmp_path) -> None:
    pictures = [image(1), image(1), image(2, width=0), image(3), {"id": 4}, image(True)]
    suite = built(tmp_path, pictures, [thing(1)])
    assert [s.id for s in suite.samples] == ["coco-val2017-1"]
    assert suite.counts["images"] == len(pictures)
    reasons = {e.reason for e in suite.records if e.kind == "image" and e.outcome == "skipped"}
    assert reasons >= {"id used before", "no usable instance", "no field 'width'", "id is no whole number"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "no JSON"),
        ("[]", "found a list; expected an object"),
        ('{"images": {}, "annotations": [], "categories": []}', "images: found a dict; expected a list"),
        ('{"images": [], "annotations": 3, "categories": []}', "annotations: found a int; expected a list"),
    ],
)
def test_files_that_cannot_be_read_are_refused(tmp_path, content: str, message: str) -> None:
    (tmp_path / "instances_x.json").write_text(content)
    with pytest.raises(LayoutmarkError, match=message):
        build.build_suite("coco-val2017", tmp_path)


def test_fractions_in_place_of_pixels_are_refused(tmp_path) -> None:
    things = [thing(n, bbox=[0.1, 0.1, 0.5, 0.5]) for n in range(3)]
    with pytest.raises(LayoutmarkError, match=r"bbox: found no number above 0\.5; expected pixels"):
        built(tmp_path, [image(1)], things)


def test_no_file_and_no_such_suite(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match=r"no instances_\*\.json"):
        build.build_suite("coco-200", tmp_path)
    with pytest.raises(LayoutmarkError, match="coco-300"):
        build.build_suite("coco-300", tmp_path)


def test_the_rules(tmp_path) -> None:
    pictures = [image(n) for n in range(1, 6)]
    things = [
        thing(1), thing(2, category=7),
        thing(3, of=2), thing(4, of=2),
        thing(5, of=3, bbox=[0, 0, 4, 4]),
        *[thing(10 + n, of=4, category=2) for n in range(7)],
        *[thing(20 + n, of=5, category=1 + n % 2) for n in range(31)],
    ]  # fmt: skip
    said = [caption(1, "a cat"), caption(2, "a Cat eats a hot dog"), caption(3, "two cats", 2), caption(4, "a cat", 3)]
    simple = built(tmp_path, pictures, things, said, suite="coco-200")
    assert [(s.id, s.prompt) for s in simple.samples] == [("coco-200-1", "a Cat eats a hot dog")]
    mig = built(tmp_path, pictures, things, said, suite="coco-mig-like")
    assert [s.prompt for s in mig.samples] == ["a photo of a cat and a hot dog", "a photo of a cat"]
    published = built(tmp_path, pictures, things, said, suite="coco-instancediffusion")
    assert [len(s.layout.instances) for s in published.samples] == [2, 2, 1, 7, 30]
    assert published.samples[0].prompt == "a catcat, hot dog"
    assert {s.layout.canvas.width for s in published.samples} == {512}


def test_a_full_suite_takes_the_same_pictures_in_any_order() -> None:
    def choice(number: int) -> Any:
        return selection.Choice("x", (), annotations.Canvas(8, 8), group=str(number % 5))

    many = {str(n): choice(n) for n in range(2_000)}
    taken = selection.chosen("coco-mig-like", many)
    assert Counter(int(n) % 5 for n in taken) == dict.fromkeys(range(5), 160)
    assert selection.chosen("coco-mig-like", dict(reversed(many.items()))) == taken
    assert len(selection.chosen("coco-val2017", many)) == 2_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["id", "image_id", "category_id", "bbox", "segmentation", "iscrowd", "size", "counts", "width", "height"]
    ), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(image_=JSON, thing_=JSON, said=JSON, spoilt=st.sampled_from(["bbox", "segmentation", "id", "image_id"]))
def test_nothing_but_an_error_of_ours_comes_out(tmp_path_factory, image_, thing_, said, spoilt) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    things = [thing(1), thing_, thing(2) | {spoilt: thing_}]
    try:
        found = built(folder, [image(1), image_], things, [caption(1, "a cat"), said])
    except LayoutmarkError:
        return
    assert found.counts["annotations"] == 3
    assert found.samples


def test_the_command_builds_runs_and_shows(tmp_path, capsys) -> None:
    source = write(tmp_path, [image(1)], [thing(1)], [caption(1, "a cat")])
    assert main(["suites", "build", "coco-val2017", "--source", str(source), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "annotations kept: 1" in told
    assert "1 samples, sha256" in told


def test_real_files() -> None:
    folder = SHARED / "coco_mini_train2017"
    if not folder.is_dir():
        pytest.skip("the files of COCO-MINI are not beside the checkout")
    ledger = Ledger()
    found = annotations.read(folder, ledger)
    assert len(found.pictures) == 80
    assert ledger.counts["annotations"] == 739
    assert ledger.counts["annotations skipped: a crowd is no single thing"] == 8
    assert ledger.counts["captions"] == 400
    for picture in found.pictures:
        for instance in picture.instances:
            assert isinstance(instance.mask, Mask)
            x, y = instance.point
            assert instance.mask.array()[int(y * picture.canvas.height), int(x * picture.canvas.width)]
            assert np.isfinite(instance.box.xyxy).all()
