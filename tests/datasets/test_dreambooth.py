"""Subjects in DreamBooth's form: what is read, what is left out, how they are crossed with places."""

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


def write(folder: Path, sheet: str = SHEET, listing: Any = None) -> Path:
    root = folder / "dataset"
    for number, (name, pictures) in enumerate({"mug": 2, "rex": 1, "stray": 1}.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for turn in range(pictures):
            pixels = np.full((8 + turn, 6, 3), 40 * number + turn, np.uint8)
            Image.fromarray(pixels).save(root / name / f"{turn:02}.jpg")
    (root / "prompts_and_classes.txt").write_text(sheet, "utf-8")
    if listing is not None:
        (folder / "dreambench_x.json").write_text(json.dumps(listing), "utf-8")
    return folder


def built(source: Path, name: str = "dreambooth") -> BuiltSuite:
    found: BuiltSuite = build.build_suite(name, source)
    return found


def test_subjects_crossed_with_prompts_and_places(tmp_path) -> None:
    suite = built(write(tmp_path))
    assert Counter(s.strata["place"] for s in suite.samples) == {"centre": 3, "left": 3, "right": 3}
    first, second, third = suite.samples[:3]
    assert [s.prompt for s in (first, second, third)] == ["a cup in the snow", "a dog wearing a hat", "a red cup"]
    assert (first.strata["subject"], first.strata["living"], second.strata["living"]) == ("mug", "no", "yes")
    (instance,) = first.layout.instances
    assert (instance.phrase, instance.category) == ("cup", "cup")
    shown = {reference.key: reference for reference in suite.references}
    assert len(shown) == 3
    assert {s.layout.instances[0].reference for s in suite.samples} == set(shown)
    assert shown[instance.reference].category == "cup"
    assert first.layout.instances[0].reference != third.layout.instances[0].reference
    assert suite.counts["subjects skipped: no class in the text file"] == 1
    assert suite.counts["subjects skipped: no folder of pictures"] == 1
    assert suite.counts["templates skipped: template without {0} and {1}"] == 1
    assert suite.counts["templates skipped: not 'text'.format(unique_token, class_token)"] == 1


def test_a_subject_has_all_its_pictures(tmp_path) -> None:
    built: BuiltSuite = build.build_suite("dreambooth", write(tmp_path))
    by_key = {r.key: r for r in built.references}
    assert sorted(len(more) for more in built.further.values()) == [0, 1, 1]
    for key, more in built.further.items():
        assert {by_key[k].category for k in more} <= {by_key[key].category}
        assert key not in more


def test_a_subject_without_a_readable_picture(tmp_path) -> None:
    source = write(tmp_path)
    (source / "dataset" / "rex" / "00.jpg").write_bytes(b"no picture")
    suite = built(source)
    assert {s.strata["subject"] for s in suite.samples} == {"mug"}
    assert suite.counts["pictures skipped: picture cannot be read"] == 1
    assert suite.counts["subjects skipped: no readable picture"] == 1


def test_the_list_of_unos(tmp_path) -> None:
    listing = [
        {"prompt": "a cup  in the snow", "image_paths": ["./dreambooth/dataset/mug/01.jpg"]},
        {"prompt": "a dog", "image_paths": ["rex/07.jpg"]},
        {"prompt": "a dog", "image_paths": ["../../etc/passwd"]},
        {"prompt": "a dog", "image_paths": []}, {"prompt": " ", "image_paths": ["rex/00.jpg"]}, 3,
        {"prompt": "a dog", "image_paths": ["rex/00.jpg"]},
    ]  # fmt: skip
    suite = built(write(tmp_path, listing=listing), "dreambench")
    assert [(s.id, s.prompt, s.strata["place"]) for s in suite.samples] == [
        ("dreambench-0000", "a cup in the snow", "centre"), ("dreambench-0006", "a dog", "centre"),
    ]  # fmt: skip
    assert suite.counts["records"] == 7
    assert suite.counts["records skipped: its picture is not there"] == 2
    assert suite.counts["records repaired: stray blanks in the prompt"] == 1


def test_what_cannot_be_read_is_refused(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match=r"0 files prompts_and_classes\.txt.*a folder with one"):
        built(tmp_path)
    with pytest.raises(LayoutmarkError, match=r"0 classes and 0 templates; expected a table subject_name,class"):
        built(write(tmp_path, "nothing"))
    with pytest.raises(LayoutmarkError, match=r"0 files dreambench\*\.json"):
        built(write(tmp_path), "dreambench")
    with pytest.raises(LayoutmarkError, match="dreambooh"):
        built(tmp_path, "dreambooh")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(SHEET)), st.integers(0, 40), st.text(max_size=12), st.text("',{}01\n.format(", max_size=20))
def test_nothing_but_an_error_of_ours_comes_out(tmp_path, at: int, length: int, text: str, marks: str) -> None:
    sheet = SHEET[:at] + text + marks + SHEET[at + length :]
    try:
        suite = built(write(tmp_path, sheet.replace("\r", "")))
    except LayoutmarkError:
        return
    assert all(s.prompt for s in suite.samples)


def test_real_files() -> None:
    if not SHARED.is_dir():
        pytest.skip("the gathered files are not beside the checkout")
    suite = built(SHARED)
    assert len(suite.samples) == 13 * 25 * 3
    assert len(suite.references) == suite.counts["pictures"] == 58
    assert suite.counts["pictures repaired: first of several frames taken"] == 2
    assert suite.counts["subjects skipped: no folder of pictures"] == 17
    assert max(max(r.image.shape[:2]) for r in suite.references) == 512
    listed = built(SHARED, "dreambench")
    assert (listed.counts["records"], listed.counts["records skipped: its picture is not there"]) == (750, 19 * 25)
