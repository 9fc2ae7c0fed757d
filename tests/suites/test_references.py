"""Built suites with references: written by content, read back, checked, exported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from layoutmark.api import BuiltSuite
from layoutmark.errors import LayoutmarkError
from layoutmark.ingest.references import reference_of
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.plan.jobs import references_digest
from layoutmark.registry.card_types import Source, SuiteItem
from layoutmark.suites import load_built_suite, restricted, save_built_suite

ITEM = SuiteItem("toy", "Toy", "1", Source.BUILD)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
MASK = PIXELS[0, ..., 0] > 90
SHOWN = (reference_of(PIXELS[0], "cat", MASK), reference_of(PIXELS[1], "dog"))


def sample(number: int, *keys: str | None) -> Sample:
    boxes = [Box(0.1 * k, 0, 0.1 * k + 0.5, 1) for k in range(len(keys))]
    kinds = {SHOWN[0].key: "cat", SHOWN[1].key: "dog"}
    instances = tuple(
        Instance(str(k), kinds.get(str(key), "cat"), kinds.get(str(key), "cat"), box, reference=key)
        for k, (key, box) in enumerate(zip(keys, boxes, strict=True))
    )
    return Sample(f"toy-{number}", "a cat and a dog", Layout(Canvas(20, 10), instances))


def built() -> BuiltSuite:
    first, second = (reference.key for reference in SHOWN)
    samples = (sample(0, first, second, None), sample(1, second, second), sample(2, None))
    return BuiltSuite(samples, ("cat", "dog"), references=SHOWN)


@pytest.fixture
def folder(tmp_path):
    return save_built_suite(built(), ITEM, tmp_path / "toy")


def test_pixels_and_masks_come_back(folder) -> None:
    suite = load_built_suite(folder)
    found = suite.references("toy-0")
    assert list(found) == [reference.key for reference in SHOWN]
    for reference in SHOWN:
        back = found[reference.key]
        assert back.category == reference.category
        assert np.array_equal(back.image, reference.image)
        assert (back.mask is None) == (reference.mask is None)
    assert np.array_equal(found[SHOWN[0].key].mask, MASK)
    assert list(suite.references("toy-1")) == [SHOWN[1].key]
    assert suite.references("toy-2") == {}
    assert len(list((folder / "references").iterdir())) == 2


def test_further_pictures_come_back_and_count_for_the_digest(tmp_path) -> None:
    first, second = (reference.key for reference in SHOWN)
    more = replace(built(), further={first: (second,)})
    suite = load_built_suite(save_built_suite(more, ITEM, tmp_path / "more"))
    plain = load_built_suite(save_built_suite(built(), ITEM, tmp_path / "plain"))
    found = suite.further_references("toy-0")
    assert [len(found[key]) for key in (first, second)] == [1, 0]
    assert np.array_equal(found[first][0], PIXELS[1])
    assert suite.further_references("toy-2") == {}
    assert restricted(suite, None, 1).further_references("toy-0").keys() == found.keys()  # type: ignore[attr-defined]
    assert suite.digest != plain.digest
    assert list(suite.references("toy-1")) == [second]


def test_narrowed_suites_have_them_too(folder) -> None:
    suite = load_built_suite(folder)
    few = restricted(suite, None, 1)
    assert references_digest(few, "toy-0") == references_digest(suite, "toy-0")
    assert references_digest(suite, "toy-0") != references_digest(suite, "toy-1")


def test_the_suites_digest_covers_the_pixels(folder, tmp_path) -> None:
    other = reference_of(PIXELS[2], "dog")
    made = BuiltSuite((sample(0, SHOWN[0].key, other.key, None), *built().samples[1:]), ("cat", "dog"))
    again = save_built_suite(replace(made, references=(*SHOWN, other)), ITEM, tmp_path / "again")
    assert load_built_suite(again).digest != load_built_suite(folder).digest


def test_another_build_clears_the_old_pictures(folder) -> None:
    save_built_suite(BuiltSuite((sample(1, SHOWN[1].key),), ("dog",), references=SHOWN[1:]), ITEM, folder)
    assert [p.stem for p in (folder / "references").iterdir()] == [SHOWN[1].key]
    save_built_suite(BuiltSuite((sample(2, None),), ("cat",)), ITEM, folder)
    assert list((folder / "references").iterdir()) == []
    assert load_built_suite(folder).references("toy-2") == {}


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path.unlink(), "FileNotFoundError"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "no readable picture"),
        (
            lambda path: path.write_bytes(next(p for p in path.parent.iterdir() if p != path).read_bytes()),
            "other pixels",
        ),
    ],
)
def test_a_picture_that_changed_is_refused(folder, harm, message: str) -> None:
    harm(folder / "references" / f"{SHOWN[0].key}.png")
    with pytest.raises(LayoutmarkError, match=rf"suite toy, references/.*{message}.*suites build toy"):
        load_built_suite(folder).references("toy-0")


def test_a_key_that_is_not_the_content_is_refused(tmp_path) -> None:
    wrong = replace(SHOWN[0], key="cat")
    with pytest.raises(LayoutmarkError, match=r"reference 'cat': found a key that is not the sha256.*reference_of"):
        save_built_suite(BuiltSuite((sample(0, "cat"),), ("cat",), references=(wrong,)), ITEM, tmp_path / "x")
