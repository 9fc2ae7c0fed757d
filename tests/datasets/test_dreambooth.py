"""Subjects in DreamBooth's format: reading, skips, and the combination with prompts and positions."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from layoutmark.api import BuiltSuite
from layoutmark.errors import LayoutmarkError

build, subjects = (importlib.import_module(f"layoutmark.datasets.dreambooth.{n}") for n in ("build", "subjects"))
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "refs"
SHEET = """Classes

subject_name,class
mug,cup
rex,dog
gone,boot

Prompts

Object Prompts

prompt_list = [
'a {0} {1} in the snow'.format(unique_token, class_token),
"a red {0} {1}".format(unique_token, class_token),
'a {1}'.format(unique_token, class_token),
'a {0} {1}'.format(__import__('os').getcwd(), class_token),
]

Live Subject Prompts

prompt_list = [
'a {0} {1} wearing a hat'.format(unique_token, class_token)
]
"""


def write_source(folder: Path, sheet: str = SHEET, listing: Any = None) -> Path:
    root = folder / "dataset"
    for number, (name, image_count) in enumerate({"mug": 2, "rex": 1, "stray": 1}.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(image_count):
            pixels = np.full((8 + index, 6, 3), 40 * number + index, np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index:02}.jpg")
    (root / "prompts_and_classes.txt").write_text(sheet, "utf-8")
    if listing is not None:
        (folder / "dreambench_x.json").write_text(json.dumps(listing), "utf-8")
    return folder


def build_toy_suite(source: Path, name: str = "dreambooth") -> BuiltSuite:
    suite: BuiltSuite = build.build_suite(name, source)
    return suite


def test_subjects_are_combined_with_prompts_and_positions(tmp_path) -> None:
    suite = build_toy_suite(write_source(tmp_path))
    assert Counter(s.strata["place"] for s in suite.samples) == {"centre": 3, "left": 3, "right": 3}
    first, second, third = suite.samples[:3]
    assert [s.prompt for s in (first, second, third)] == ["a cup in the snow", "a dog wearing a hat", "a red cup"]
    assert (first.strata["subject"], first.strata["living"], second.strata["living"]) == ("mug", "no", "yes")
    (instance,) = first.layout.instances
    assert (instance.phrase, instance.category) == ("cup", "cup")
    references = {reference.key: reference for reference in suite.references}
    assert len(references) == 3
    assert {s.layout.instances[0].reference for s in suite.samples} == set(references)
    assert references[instance.reference].category == "cup"
    assert first.layout.instances[0].reference != third.layout.instances[0].reference
    assert suite.counts["subjects skipped: no class in the text file"] == 1
    assert suite.counts["subjects skipped: no folder of pictures"] == 1
    assert suite.counts["templates skipped: template without {0} and {1}"] == 1
    assert suite.counts["templates skipped: not 'text'.format(unique_token, class_token)"] == 1


def test_extra_references_are_all_images_of_the_subject(tmp_path) -> None:
    suite: BuiltSuite = build.build_suite("dreambooth", write_source(tmp_path))
    by_key = {r.key: r for r in suite.references}
    assert sorted(len(extra_keys) for extra_keys in suite.extra_references.values()) == [0, 1, 1]
    for key, extra_keys in suite.extra_references.items():
        assert {by_key[k].category for k in extra_keys} <= {by_key[key].category}
        assert key not in extra_keys


def test_subject_without_a_readable_image_is_skipped(tmp_path) -> None:
    source = write_source(tmp_path)
    (source / "dataset" / "rex" / "00.jpg").write_bytes(b"no picture")
    suite = build_toy_suite(source)
    assert {s.strata["subject"] for s in suite.samples} == {"mug"}
    assert suite.counts["pictures skipped: picture cannot be read"] == 1
    assert suite.counts["subjects skipped: no readable picture"] == 1


def test_list_in_the_format_of_uno(tmp_path) -> None:
    listing = [
        {"prompt": "a cup  in the snow", "image_paths": ["./dreambooth/dataset/mug/01.jpg"]},
        {"prompt": "a dog", "image_paths": ["rex/07.jpg"]},
        {"prompt": "a dog", "image_paths": ["../../etc/passwd"]},
        {"prompt": "a dog", "image_paths": []}, {"prompt": " ", "image_paths": ["rex/00.jpg"]}, 3,
        {"prompt": "a dog", "image_paths": ["rex/00.jpg"]},
    ]  # fmt: skip
    suite = build_toy_suite(write_source(tmp_path, listing=listing), "dreambench")
    assert [(s.id, s.prompt, s.strata["place"]) for s in suite.samples] == [
        ("dreambench-0000", "a cup in the snow", "centre"), ("dreambench-0006", "a dog", "centre"),
    ]  # fmt: skip
    assert suite.counts["records"] == 7
    assert suite.counts["records skipped: its picture is not there"] == 2
    assert suite.counts["records repaired: stray blanks in the prompt"] == 1


def test_unreadable_sources_are_refused(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match=r"0 files prompts_and_classes\.txt.*a folder with one"):
        build_toy_suite(tmp_path)
    with pytest.raises(LayoutmarkError, match=r"0 classes and 0 templates; expected a table subject_name,class"):
        build_toy_suite(write_source(tmp_path, "nothing"))
    with pytest.raises(LayoutmarkError, match=r"0 files dreambench\*\.json"):
        build_toy_suite(write_source(tmp_path), "dreambench")
    with pytest.raises(LayoutmarkError, match="dreambooh"):
        build_toy_suite(tmp_path, "dreambooh")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(SHEET)), st.integers(0, 40), st.text(max_size=12), st.text("',{}01\n.format(", max_size=20))
def test_damaged_sheets_raise_nothing_but_layoutmark_errors(
    tmp_path, position: int, length: int, text: str, marks: str
) -> None:
    sheet = SHEET[:position] + text + marks + SHEET[position + length :]
    try:
        suite = build_toy_suite(write_source(tmp_path, sheet.replace("\r", "")))
    except LayoutmarkError:
        return
    assert all(s.prompt for s in suite.samples)


def test_real_files() -> None:
    if not SHARED.is_dir():
        pytest.skip("the shared data files are not available")
    suite = build_toy_suite(SHARED)
    assert len(suite.samples) == 13 * 25 * 3
    assert len(suite.references) == suite.counts["pictures"] == 58
    assert suite.counts["pictures repaired: first of several frames taken"] == 2
    assert suite.counts["subjects skipped: no folder of pictures"] == 17
    assert max(max(r.image.shape[:2]) for r in suite.references) == 512
    dreambench = build_toy_suite(SHARED, "dreambench")
    assert (dreambench.counts["records"], dreambench.counts["records skipped: its picture is not there"]) == (
        750,
        19 * 25,
    )
