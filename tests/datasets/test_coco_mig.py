"""COCO-MIG's format, on synthetic records."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layoutmark.api import BuiltSuite
from layoutmark.errors import LayoutmarkError

build = importlib.import_module("layoutmark.datasets.coco_mig.build")


def build_toy_suite(folder: Path, records: Any) -> BuiltSuite:
    (folder / "mig_bench_anno.json").write_text(json.dumps(records), "utf-8")
    suite: BuiltSuite = build.build_suite("coco-mig", folder)
    return suite


def test_phrases_with_one_box_and_with_several_boxes(tmp_path) -> None:
    record = {"a red dog": [0.1, 0.1, 0.4, 0.5], "a blue cup": [[0.5, 0.5, 0.9, 0.9], [0, 0.6, 0.3, 1]], "coco_id": "7"}
    (sample,) = build_toy_suite(tmp_path, {"a red dog, a blue cup and a blue cup": record}).samples
    assert sample.id == "coco-mig-0"
    assert sample.provenance["source"] == "COCO image 7"
    assert [(i.phrase, i.category, i.attributes, i.box.xyxy) for i in sample.layout.instances] == [
        ("a red dog", "dog", {"colour": "red"}, (0.1, 0.1, 0.4, 0.5)),
        ("a blue cup", "cup", {"colour": "blue"}, (0.5, 0.5, 0.9, 0.9)),
        ("a blue cup", "cup", {"colour": "blue"}, (0.0, 0.6, 0.3, 1.0)),
    ]
    assert sample.strata["repeated"] == "yes"


def test_irregular_records_are_accounted_for(tmp_path) -> None:
    suite = build_toy_suite(tmp_path, {
        "good": {
            "a dog": [0, 0, 0.5, 0.5], "a cat": [0.5, 0.5, 0.5, 0.9], "a cup": [0.1, 0.1, 1.2, 0.5], "an owl": "x",
        },
        "none": {"coco_id": "1"}, "list": [1, 2], " ": {"a dog": [0, 0, 1, 1]},
    })  # fmt: skip
    assert [s.prompt for s in suite.samples] == ["good"]
    assert suite.counts["instances skipped: box has no area"] == 1
    assert suite.counts["instances skipped: box is not 4 numbers"] == 1
    assert suite.counts["instances repaired: box cut at the edge of the canvas"] == 1
    assert suite.counts["prompts skipped: no usable instance"] == 1
    assert suite.counts["prompts skipped: not an object"] == 1
    assert suite.counts["prompts skipped: no prompt"] == 1


def test_pixels_and_other_formats_are_refused(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match=r"boxes: found numbers up to 400; expected fractions"):
        build_toy_suite(tmp_path, {"x": {"a dog": [10, 10, 400, 300]}})
    with pytest.raises(LayoutmarkError, match="found a list; expected an object"):
        build_toy_suite(tmp_path, [])


YAML = """? a red dog, a blue cup and a blue cup, in a prompt so long that it needs a mark of its own
: a red dog: [0.1, 0.1, 0.4, 0.5]
  a blue cup:
  - - 0.5
    - 0.5
    - 0.9
    - 0.9
  - [0, 0.6, 0.3, 1]
  coco_id: '7'
3:
  a dog: [0, 0, 1, 1]
second:
  null: [0, 0, 1, 1]
  yes: [0, 0, 1, 1]
  a cat: [0, 0, 0.5, 0.5]
"""


def test_yaml_gives_the_same_suite_as_json(tmp_path) -> None:
    pytest.importorskip("yaml")
    (tmp_path / "mig_bench_anno.yaml").write_text(YAML, "utf-8")
    suite = build.build_suite("coco-mig", tmp_path)
    first, second = suite.samples
    assert [i.phrase for i in first.layout.instances] == ["a red dog", "a blue cup", "a blue cup"]
    assert (first.id, second.id) == ("coco-mig-0", "coco-mig-2")
    assert suite.counts["prompts skipped: prompt is no text"] == 1
    assert suite.counts["instances skipped: phrase is no text"] == 2
    with pytest.raises(LayoutmarkError, match=r"mig_bench_anno\.json, mig_bench_anno\.yaml; expected one file"):
        build_toy_suite(tmp_path, {"x": {}})
    (tmp_path / "mig_bench_anno.json").unlink()
    for text, message in (
        ("a: {b: [0, 0, 1, 1]}\na: {}\n", r"line 1: found the key 'a' twice"), ("a: [", "found invalid YAML"),
        ("a: !!python/object:os.system {}", "found invalid YAML"), ("{[1]: 2}", "yaml"),
    ):  # fmt: skip
        (tmp_path / "mig_bench_anno.yaml").write_text(text, "utf-8")
        with pytest.raises(LayoutmarkError, match=message):
            build.build_suite("coco-mig", tmp_path)


def test_duplicate_prompt_is_refused(tmp_path) -> None:
    (tmp_path / "mig.json").write_text('{"a": {"a dog": [0, 0, 1, 1]}, "a": {"a cat": [0, 0, 1, 1]}}')
    with pytest.raises(LayoutmarkError, match=r"file mig\.json: found the key 'a' twice in one object"):
        build.build_suite("coco-mig", tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON, JSON)
def test_arbitrary_records_raise_nothing_but_layoutmark_errors(tmp_path, record: Any, box: Any) -> None:
    records = {"good": {"a dog": [0.1, 0.1, 0.5, 0.5], "odd": box}, "odd": record}
    try:
        suite = build_toy_suite(tmp_path, records)
    except LayoutmarkError:
        return
    assert suite.counts["prompts"] == 2
    assert suite.samples[0].prompt == "good"
