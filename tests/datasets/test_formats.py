"""Formats of published layouts: records kept, repaired, skipped and refused, in synthetic files and in real ones."""

from __future__ import annotations

import importlib
import io
import json
import pickle
import re
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from layoutmark.api import BuiltSuite
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import sample_to_json
from layoutmark.provenance import canonical_json
from layoutmark.registry import Registry

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
FORMS = (
    "attention_refocusing", "densediffusion", "instancediffusion_demo", "jsonl", "layoutgpt", "lmd", "table", "yolo",
)  # fmt: skip


def build(form: str, source: Path) -> BuiltSuite:
    built: BuiltSuite = importlib.import_module(f"layoutmark.datasets.{form}.build").build_suite(form, source)
    return built


def write_file(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data), "utf-8")
    return path


def outcomes(suite: BuiltSuite) -> set[tuple[str, str, str]]:
    return {(entry.kind, entry.outcome, entry.reason) for entry in suite.records}


def test_registry_has_every_form() -> None:
    suites = Registry().suites()
    assert set(FORMS) <= set(suites)


@pytest.mark.parametrize("name", sorted(Registry().suites()))
def test_cards_state_aspect_canvas_and_leakage(name: str) -> None:
    card = Registry().get_suite(name).card
    text = (Registry().get_suite(name).folder / "suite.toml").read_text("utf-8")
    assert len(re.findall(r'^aspect = "(?:pad|native|stretched)"$', text, re.MULTILINE)) == len(card.suites)
    assert len(card.canvas.split()) > 3
    assert len(card.leakage.split()) > 5


def test_layoutgpt(tmp_path) -> None:
    path = write_file(tmp_path / "answers.json", [
        {"iter": 0, "query_id": 7, "prompt": "a dog by a computer chair",
         "object_list": [["dog", [0.1, 0.2, 0.5, 0.6]], ["computerChair", [-0.1, 0.5, 0.4, 0.9]], ["x", [0, 0, 1]]]},
        {"iter": 1, "query_id": 7, "prompt": "nothing", "object_list": []},
        {"iter": 0, "query_id": 7, "prompt": "again", "object_list": [["dog", [0, 0, 1, 1]]]},
        {"prompt": "a"}, 3,
    ])  # fmt: skip
    suite = build("layoutgpt", path)
    (sample,) = suite.samples
    assert sample.id == "layoutgpt-7-0"
    assert [(i.phrase, i.box.xyxy) for i in sample.layout.instances] == [
        ("dog", (0.1, 0.2, 0.5, 0.6)), ("computer chair", (0.0, 0.5, 0.4, 0.9)),
    ]  # fmt: skip
    assert outcomes(suite) >= {
        ("instance", "repaired", "box cut at the edge of the canvas"),
        ("instance", "repaired", "label respelt in words"),
        ("instance", "skipped", "box is not 4 numbers"),
        ("instance", "flagged", "box covers the whole canvas"),
        ("record", "skipped", "no usable instance"),
        ("record", "skipped", "id used before"),
        ("record", "skipped", "no field 'object_list'"),
        ("record", "skipped", "not an object"),
    }
    assert suite.counts["records"] == 5


def test_instancediffusion_demo(tmp_path) -> None:
    mask = {"size": [10, 20], "counts": [50, 10, 140]}
    write_file(tmp_path / "demo_one.json", {
        "caption": "a scene", "width": 20, "height": 10, "annos": [
            {"bbox": [0, 0, 10, 5], "mask": [], "category_name": "", "caption": "a green dog"},
            {"bbox": [5, 0, 1, 10], "mask": mask, "category_name": "cat", "caption": ""},
            {"point": [4, 4], "caption": "a bird"},
            {"bbox": [0, 10, 0, 0], "caption": "a rose"},
            {"mask": mask, "caption": "a pole"},
        ]})  # fmt: skip
    suite = build("instancediffusion_demo", tmp_path)
    (sample,) = suite.samples
    first, second, third = sample.layout.instances
    assert (first.category, first.attributes, first.box.xyxy) == ("dog", {"colour": "green"}, (0, 0, 0.5, 0.5))
    assert (second.phrase, second.mask is not None) == ("cat", True)
    assert third.box.xyxy == pytest.approx((0.25, 0.0, 0.3, 1.0))
    assert outcomes(suite) == {
        ("instance", "skipped", "neither box nor mask"),
        ("instance", "skipped", "box has no area"),
        ("instance", "repaired", "box taken from the mask"),
    }


def test_lmd(tmp_path) -> None:
    suffix = "\nBackground prompt: x"
    valid_list = "[('a cat', [0, 0, 256, 128]), ('a mat', [400, 0, 200, 99])]"
    answers = [valid_list + suffix, "[]" + suffix, "sorry", "__import__('os')", "[" * 30_000]
    suite = build("lmd", write_file(tmp_path / "cache_x.json", {"a cat on a mat": answers, "b": 3}))
    (sample,) = suite.samples
    assert (sample.id, len(sample.layout.instances)) == ("lmd-0-0", 2)
    assert sample.layout.instances[0].box.xyxy == (0, 0, 0.5, 0.25)
    assert suite.counts["answers skipped: answer does not begin with a list"] == 2
    assert suite.counts["answers skipped: no usable instance"] == 1
    assert suite.counts["instances repaired: box cut at the edge of the canvas"] == 1


@pytest.mark.parametrize(
    ("form", "file", "data", "advice"),
    [
        ("layoutgpt", "a.json", [{"prompt": "p", "object_list": [["dog", [0, 0, 300, 400]]]}] * 3,
            "whether the numbers are pixels"),
        ("lmd", "cache_a.json", {"p": "[('a cat', [0.1, 0.1, 0.5, 0.5])]"}, "whether the numbers are fractions"),
        ("instancediffusion_demo", "demo_a.json", {"caption": "p", "width": 640, "height": 480, "annos": [
            {"caption": "a", "bbox": [0.1, 0.1, 0.5, 0.5]}]}, "whether the numbers are fractions"),
        ("instancediffusion_demo", "demo_a.json", {"caption": "p", "width": 1, "height": 1, "annos": [
            {"caption": "a", "bbox": [0, 0, 300, 300]}]}, "whether the numbers are pixels"),
    ],
)  # fmt: skip
def test_mistaken_units_are_refused(tmp_path, form: str, file: str, data: Any, advice: str) -> None:
    with pytest.raises(LayoutmarkError, match=f"(?i)suite {form}, boxes: .*{advice}"):
        build(form, write_file(tmp_path / file, data))


def test_yolo_in_pixels_is_refused(tmp_path) -> None:
    write_file(tmp_path / "classes.txt", "cat\n")
    write_file(tmp_path / "labels" / "a.txt", "0 100 100 50 50\n0 10 10 5 5\n")
    with pytest.raises(LayoutmarkError, match="2 of 2 reach beyond twice their canvas"):
        build("yolo", tmp_path)


@pytest.mark.parametrize("form", ["layoutgpt", "nsr1k", "attention_refocusing"])
def test_lone_surrogates_are_refused_and_pairs_kept(tmp_path, form: str) -> None:
    """No file can be written with a lone surrogate; a pair of surrogates is one character."""

    def write_source(prompt: str) -> Path:
        if form == "attention_refocusing":
            (tmp_path / "a.p").write_bytes(pickle.dumps({prompt: (["dog"], [(0, 0, 99, 99)])}))
            return tmp_path / "a.p"
        record = {
            "id": 1,
            "image_id": 1,
            "type": "x",
            "relation": "y",
            "obj1": ["dog", [0, 0, 0.5, 0.5]],
            "obj2": ["cat", [0, 0, 0.5, 0.5]],
            "object_list": [["dog", [0, 0, 0.5, 0.5]]],
            "num_object": [],
        }
        name = "spatial.val.json" if form == "nsr1k" else "a.json"
        return write_file(tmp_path / name, [record | {"prompt": prompt}])

    (sample,) = build(form, write_source("a dog \U0001f600")).samples
    assert sample.prompt == "a dog \U0001f600"
    with pytest.raises(LayoutmarkError, match=r"found a lone surrogate in .a dog .ud83d"):
        build(form, write_source("a dog \ud83d"))


@pytest.mark.parametrize("form", ["layoutgpt", "nsr1k"])
@pytest.mark.parametrize(("text", "message"), [("[" * 100_000, "unreadable JSON"), ('[{"a": 1, "a": 2}]', "twice")])
def test_json_that_breaks_parsers_is_refused(tmp_path, form: str, text: str, message: str) -> None:
    with pytest.raises(LayoutmarkError, match=message):
        build(form, write_file(tmp_path / "counting.val.json", text))


def test_numbers_beyond_float_range_skip_their_record(tmp_path) -> None:
    record = {"id": 1, "image_id": 1, "type": "x", "prompt": "a dog", "num_object": [["dog", 1]]}
    data = [
        record | {"object_list": [["dog", [10**400, 0, 1, 1]]]},
        record | {"id": 2, "object_list": [["dog", [0, 0, 1, 1]]]},
    ]
    assert build("nsr1k", write_file(tmp_path / "counting.val.json", data)).counts["records skipped"] == 1


class MaliciousObject:
    def __reduce__(self) -> Any:
        return print, ("this must not be printed",)


def test_attention_refocusing(tmp_path, capsys) -> None:
    layouts = {"a red_car.": (["red_car", "dog"], [(0, 0, 256, 256), (500, 0, 600, 50)]), "two": (["a"], []), "x": 3}
    (tmp_path / "color.p").write_bytes(pickle.dumps(layouts))
    suite = build("attention_refocusing", tmp_path)
    (sample,) = suite.samples
    assert sample.layout.instances[0].category == "car"
    assert sample.layout.instances[0].attributes == {"colour": "red"}
    assert suite.counts["records skipped"] == 2
    (tmp_path / "evil.p").write_bytes(pickle.dumps({"a": MaliciousObject()}))
    with pytest.raises(LayoutmarkError, match=r"builtins\.print.*Do not open"):
        build("attention_refocusing", tmp_path)
    assert "must not" not in capsys.readouterr().out


def test_densediffusion(tmp_path) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = (255, 0, 0)
    image[6:, :2] = (0, 255, 0)
    texts = {0: {"textual_condition": "two things", "segment_descriptions": ["", "a wall", "a ball"]},
             1: {"textual_condition": "more", "segment_descriptions": ["", "a"]},
             2: {"textual_condition": "gone", "segment_descriptions": ["", "a"]}}  # fmt: skip
    (tmp_path / "testset.pkl").write_bytes(pickle.dumps(texts))
    with tarfile.open(tmp_path / "testset_layout.tar.gz", "w:gz") as archive:
        for name in ("0.png", "1.png"):
            data = io.BytesIO()
            Image.fromarray(image).save(data, "PNG")
            info = tarfile.TarInfo(f"testset_layout/{name}")
            info.size = data.tell()
            data.seek(0)
            archive.addfile(info, data)
    suite = build("densediffusion", tmp_path)
    (sample,) = suite.samples
    assert [(i.phrase, i.box.xyxy) for i in sample.layout.instances] == [
        ("a wall", (0.5, 0, 1, 1)), ("a ball", (0, 0.75, 0.25, 1)),
    ]  # fmt: skip
    assert outcomes(suite) >= {
        ("record", "skipped", "not as many colours as descriptions"),
        ("record", "skipped", "no picture of its layout"),
    }


def test_damaged_densediffusion_archive_is_read_or_refused(tmp_path) -> None:
    """Regression: a damaged archive once raised zlib.error."""
    rng = np.random.default_rng(0)
    texts = {n: {"textual_condition": "x", "segment_descriptions": ["a"]} for n in range(4)}
    (tmp_path / "testset.pkl").write_bytes(pickle.dumps(texts))
    archive_file = io.BytesIO()
    with tarfile.open(fileobj=archive_file, mode="w:gz") as archive:
        for n in range(4):
            data = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(data, "PNG")
            info = tarfile.TarInfo(f"testset_layout/{n}.png")
            info.size = data.tell()
            data.seek(0)
            archive.addfile(info, data)
    messages = set()
    for position in rng.integers(0, len(archive_file.getvalue()), 200):
        damaged = bytearray(archive_file.getvalue())
        damaged[position] ^= 1 << int(rng.integers(8))
        (tmp_path / "testset_layout.tar.gz").write_bytes(damaged)
        try:
            build("densediffusion", tmp_path)
        except LayoutmarkError as error:
            messages.add(error.found)
    assert any("decompress" in message for message in messages)


@pytest.mark.parametrize(
    "names", ["names: [cat, 'hot dog']\n", "names:\n  0: cat\n  1: hot dog\n", "names:\n- cat\n- hot dog\n"]
)
def test_yolo(tmp_path, names: str) -> None:
    write_file(tmp_path / "data.yaml", "path: .\n" + names)
    write_file(tmp_path / "labels" / "a.txt", "0 0.5 0.5 0.5 0.5\n1 0 0 1 0 1 0.5 0 0.5\n7 0.5 0.5 1 1\n0 1 2\n")
    write_file(tmp_path / "labels" / "empty.txt", "\n")
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 20)).save(tmp_path / "images" / "a.png")
    suite = build("yolo", tmp_path)
    (sample,) = suite.samples
    assert (sample.prompt, sample.layout.canvas.width) == ("a photo of a cat and a hot dog", 40)
    assert [i.box.xyxy for i in sample.layout.instances] == [(0.25, 0.25, 0.75, 0.75), (0, 0, 1, 0.5)]
    assert outcomes(suite) >= {
        ("instance", "skipped", "class without a name"),
        ("instance", "skipped", "neither a box of 4 numbers nor a polygon"),
        ("picture", "skipped", "no usable instance"),
    }


def test_exported_lines_are_read_back(tmp_path) -> None:
    mini = Registry().get_suite("mini").load().open_suite("mini").samples[:3]
    lines = [canonical_json(sample_to_json(s)) for s in mini] + [
        '{"id": "x"}',
        "3",
        canonical_json(sample_to_json(mini[0])),
    ]
    suite = build("jsonl", write_file(tmp_path / "s.jsonl", "\n".join(lines) + "\n"))
    assert [(s.id, s.prompt, s.layout) for s in suite.samples] == [(s.id, s.prompt, s.layout) for s in mini]
    assert suite.counts["lines skipped"] == 3
    with pytest.raises(LayoutmarkError, match=r"s\.jsonl, line 2: found invalid JSON"):
        build("jsonl", write_file(tmp_path / "s.jsonl", lines[0] + "\n{\n"))


LONG = """file = "t.csv"
form = "long"
box = "xywh"
units = "pixels"
canvas = ["W", "H"]
[columns]
id = "scene"
prompt = "caption"
phrase = "what"
box = ["x", "y", "w", "h"]
"""
WIDE = """file = "t.json"
form = "wide"
box = "xyxy"
units = "fractions"
canvas = [512, 512]
[columns]
prompt = "p"
phrase = "o{n}"
category = "c{n}"
box = "b{n}"
"""


def test_long_table(tmp_path) -> None:
    write_file(tmp_path / "mapping.toml", LONG)
    lines = ["scene,caption,what,x,y,w,h,W,H", "1,two,a dog,0,0,50,20,100,40", "2,one,cat,0,0,x,1,100,40",
             "1,two,a red cat,60,0,50,20,100,40", "3,a,cat,1,1,2,2,9,9", "3,b,cat,1,1,2,2,9,9"]  # fmt: skip
    write_file(tmp_path / "t.csv", "\n".join(lines) + "\n")
    suite = build("table", tmp_path)
    (sample,) = suite.samples
    assert [(i.category, i.box.xyxy) for i in sample.layout.instances] == [
        ("dog", (0, 0, 0.5, 0.5)), ("cat", (0.6, 0, 1, 0.5)),
    ]  # fmt: skip
    assert suite.counts["scenes skipped: rows of one scene have different prompts"] == 1
    assert suite.counts["instances skipped: box is no finite number"] == 1


def test_wide_table(tmp_path) -> None:
    write_file(tmp_path / "mapping.toml", WIDE)
    row = {"p": "two things", "o1": "a dog", "c1": "Dog", "b1": [0, 0, 0.5, 0.5], "o2": "", "c2": "", "b2": None,
           "o3": "a cat", "c3": "", "b3": "0.5, 0.5, 1, 1"}  # fmt: skip
    write_file(tmp_path / "t.json", [row, {"p": "none"}, 3])
    suite = build("table", tmp_path)
    (sample,) = suite.samples
    assert [(i.phrase, i.category, i.box.xyxy) for i in sample.layout.instances] == [
        ("a dog", "dog", (0, 0, 0.5, 0.5)), ("a cat", "cat", (0.5, 0.5, 1, 1)),
    ]  # fmt: skip
    assert suite.counts["scenes skipped"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("xywh", "xyhw"), "box: found 'xyhw'; expected one of xyxy"),
        (lambda t: t.replace('units = "pixels"', 'unit = "pixels"'), "key 'unit'"),
        (lambda t: t.replace('phrase = "what"\n', ""), "no 'phrase'"),
        (lambda t: t.replace('"what"', '"thing"'), "no column 'thing'"),
        (lambda t: t.replace("pixels", "fractions"), "numbers up to 50; expected fractions"),
        (lambda t: t + "[[", "expected TOML"),
    ],
)
def test_invalid_mappings_are_refused(tmp_path, change: Callable[[str], str], message: str) -> None:
    write_file(tmp_path / "mapping.toml", change(LONG))
    write_file(tmp_path / "t.csv", "scene,caption,what,x,y,w,h,W,H\n1,two,a dog,0,0,50,20,100,40\n")
    with pytest.raises(LayoutmarkError, match=message):
        build("table", tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 600) | st.floats() | st.sampled_from(["", "a cat", "0.5", "x"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from([
        "prompt", "object_list", "query_id", "caption", "width", "height", "annos", "bbox", "mask", "point", "size",
        "counts", "textual_condition", "segment_descriptions", "id", "canvas",
        "instances", "strata", "phrase", "category", "box",
        "p", "o1", "b1", "c1",
    ]), inner, max_size=6),
    max_leaves=25,
)  # fmt: skip
WRITERS: dict[str, Callable[[Path, Any], Any]] = {
    "layoutgpt": lambda folder, data: write_file(folder / "a.json", [data]),
    "instancediffusion_demo": lambda folder, data: write_file(folder / "demo_a.json", data),
    "lmd": lambda folder, data: write_file(folder / "cache_a.json", {"a cat": [repr(data), data]}),
    "attention_refocusing": lambda folder, data: (folder / "a.p").write_bytes(pickle.dumps({"a cat": data, 3: data})),
    "densediffusion": lambda folder, data: ((folder / "testset_layout").mkdir(exist_ok=True),
                                            (folder / "testset.pkl").write_bytes(pickle.dumps({0: data}))),
    "yolo": lambda folder, data: (write_file(folder / "classes.txt", "cat\n"),
                                  write_file(folder / "labels" / "a.txt", repr(data))),
    "jsonl": lambda folder, data: write_file(folder / "a.jsonl", json.dumps(data)),
    "table": lambda folder, data: (write_file(folder / "mapping.toml", WIDE), write_file(folder / "t.json", [data])),
}  # fmt: skip


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=JSON)
def test_arbitrary_data_raises_nothing_but_layoutmark_errors(tmp_path, form: str, data: Any) -> None:
    WRITERS[form](tmp_path, data)
    samples: Any = ()
    with suppress(LayoutmarkError):
        samples = build(form, tmp_path).samples
    assert len({s.id for s in samples}) == len(samples)
    for instance in (i for s in samples for i in s.layout.instances):
        assert 0 <= instance.box.x0 < instance.box.x1 <= 1
        assert 0 <= instance.box.y0 < instance.box.y1 <= 1


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("junk", [b"", b"\x80", b"\xff\xfe{", b"[[[[", b"\x80\x04."])
def test_damaged_files_are_refused(tmp_path, form: str, junk: bytes) -> None:
    WRITERS[form](tmp_path, [])
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name not in ("mapping.toml", "classes.txt"):
            path.write_bytes(junk)
    with suppress(LayoutmarkError):
        assert not build(form, tmp_path).samples


EXPECTED_COUNTS = {
    ("layoutgpt", "layouts/layoutgpt_output/gpt4.spatial.k-similar.k_8.px_64.json"): (1415, {
        "instances flagged: box covers the whole canvas": 11}),
    ("layoutgpt", "layouts/layoutgpt_output/gpt4.counting.k-similar.k_8.px_64.json"): (3810, {
        "instances flagged: box covers the whole canvas": 52}),
    ("layoutgpt", "layouts/layoutgpt_output/llama-13b.spatial.k-similar.k_8.px_256.json"): (1415, {
        "records skipped: no usable instance": 6, "instances repaired: box cut at the edge of the canvas": 2,
        "instances flagged: box covers the whole canvas": 1}),
    ("instancediffusion_demo", "layouts/instancediffusion"): (7, {
        "instances": 92, "instances skipped: box has no area": 1, "instances skipped: neither box nor mask": 7,
        "instances repaired: box cut at the edge of the canvas": 1}),
    ("lmd", "layouts/lmd"): (400, {
        "answers skipped: no usable instance": 100, "instances": 700,
        "instances repaired: box cut at the edge of the canvas": 17}),
    ("attention_refocusing", "layouts/attention_refocusing"): (1326, {
        "instances": 3825, "instances repaired: box cut at the edge of the canvas": None,
        "instances skipped: box lies outside the canvas": None}),
    ("densediffusion", "layouts/densediffusion"): (250, {
        "records skipped: not as many colours as descriptions": 1, "instances": None}),
}  # fmt: skip


@pytest.mark.parametrize(("form", "path"), EXPECTED_COUNTS)
def test_real_files(form: str, path: str) -> None:
    if not (SHARED / path).exists():
        pytest.skip("the shared data files are not available")
    total, expected = EXPECTED_COUNTS[form, path]
    suite = build(form, SHARED / path)
    kind = next(iter(suite.counts))
    totals = {key: n for key, n in suite.counts.items() if key in ("records", "scenes", "answers")}
    assert list(totals.values()) == [total], (kind, totals)
    for key, number in expected.items():
        assert suite.counts[key] == number if number is not None else suite.counts[key] > 0
    if form == "attention_refocusing":
        cut, out = (suite.counts[f"instances {e}"] for e in ("repaired: box cut at the edge of the canvas",
                                                             "skipped: box lies outside the canvas"))  # fmt: skip
        assert cut + out == 22


@pytest.mark.parametrize("variant", ["yolo_boxes", "yolo_polygons"])
def test_real_yolo_files(variant: str) -> None:
    folder = SHARED / "coco" / "coco128_train2017" / variant
    if not folder.is_dir():
        pytest.skip("the shared data files are not available")
    suite = build("yolo", folder)
    assert suite.counts["instances"] == {"yolo_boxes": 941, "yolo_polygons": 746}[variant]
    assert suite.counts.get("pictures skipped: no usable instance", 0) == {"yolo_boxes": 0, "yolo_polygons": 2}[variant]
