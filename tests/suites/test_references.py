"""Built suites with references: written, read back and checked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from layoutmark.api import BuiltSuite
from layoutmark.errors import LayoutmarkError
from layoutmark.ingest.references import make_reference
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.plan.jobs import references_digest
from layoutmark.registry.card_types import Source, SuiteItem
from layoutmark.suites import load_built_suite, restrict, save_built_suite

ITEM = SuiteItem("toy", "Toy", "1", Source.BUILD)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
MASK = PIXELS[0, ..., 0] > 90
REFERENCES = (make_reference(PIXELS[0], "cat", MASK), make_reference(PIXELS[1], "dog"))


def make_sample(number: int, *keys: str | None) -> Sample:
    boxes = [Box(0.1 * k, 0, 0.1 * k + 0.5, 1) for k in range(len(keys))]
    categories = {REFERENCES[0].key: "cat", REFERENCES[1].key: "dog"}
    instances = tuple(
        Instance(str(k), categories.get(str(key), "cat"), categories.get(str(key), "cat"), box, reference=key)
        for k, (key, box) in enumerate(zip(keys, boxes, strict=True))
    )
    return Sample(f"toy-{number}", "a cat and a dog", Layout(Canvas(20, 10), instances))


def make_built_suite() -> BuiltSuite:
    first, second = (reference.key for reference in REFERENCES)
    samples = (make_sample(0, first, second, None), make_sample(1, second, second), make_sample(2, None))
    return BuiltSuite(samples, ("cat", "dog"), references=REFERENCES)


@pytest.fixture
def folder(tmp_path):
    return save_built_suite(make_built_suite(), ITEM, tmp_path / "toy")


def test_pixels_and_masks_are_read_back(folder) -> None:
    suite = load_built_suite(folder)
    references = suite.references("toy-0")
    assert list(references) == [reference.key for reference in REFERENCES]
    for reference in REFERENCES:
        restored = references[reference.key]
        assert restored.category == reference.category
        assert np.array_equal(restored.image, reference.image)
        assert (restored.mask is None) == (reference.mask is None)
    assert np.array_equal(references[REFERENCES[0].key].mask, MASK)
    assert list(suite.references("toy-1")) == [REFERENCES[1].key]
    assert suite.references("toy-2") == {}
    assert len(list((folder / "references").iterdir())) == 2


def test_extra_references_are_read_back_and_covered_by_the_digest(tmp_path) -> None:
    first, second = (reference.key for reference in REFERENCES)
    built = replace(make_built_suite(), extra_references={first: (second,)})
    suite = load_built_suite(save_built_suite(built, ITEM, tmp_path / "more"))
    plain = load_built_suite(save_built_suite(make_built_suite(), ITEM, tmp_path / "plain"))
    extra_references = suite.extra_references("toy-0")
    assert [len(extra_references[key]) for key in (first, second)] == [1, 0]
    assert np.array_equal(extra_references[first][0], PIXELS[1])
    assert suite.extra_references("toy-2") == {}
    assert restrict(suite, None, 1).extra_references("toy-0").keys() == extra_references.keys()  # type: ignore[attr-defined]
    assert suite.digest != plain.digest
    assert list(suite.references("toy-1")) == [second]


def test_subsets_have_references_too(folder) -> None:
    suite = load_built_suite(folder)
    subset = restrict(suite, None, 1)
    assert references_digest(subset, "toy-0") == references_digest(suite, "toy-0")
    assert references_digest(suite, "toy-0") != references_digest(suite, "toy-1")


def test_digest_covers_the_pixels_of_references(folder, tmp_path) -> None:
    other_reference = make_reference(PIXELS[2], "dog")
    built = BuiltSuite(
        (make_sample(0, REFERENCES[0].key, other_reference.key, None), *make_built_suite().samples[1:]), ("cat", "dog")
    )
    other_folder = save_built_suite(replace(built, references=(*REFERENCES, other_reference)), ITEM, tmp_path / "again")
    assert load_built_suite(other_folder).digest != load_built_suite(folder).digest


def test_rebuilding_removes_old_references(folder) -> None:
    save_built_suite(
        BuiltSuite((make_sample(1, REFERENCES[1].key),), ("dog",), references=REFERENCES[1:]), ITEM, folder
    )
    assert [p.stem for p in (folder / "references").iterdir()] == [REFERENCES[1].key]
    save_built_suite(BuiltSuite((make_sample(2, None),), ("cat",)), ITEM, folder)
    assert list((folder / "references").iterdir()) == []
    assert load_built_suite(folder).references("toy-2") == {}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "FileNotFoundError"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "an unreadable image"),
        (
            lambda path: path.write_bytes(next(p for p in path.parent.iterdir() if p != path).read_bytes()),
            "other pixels",
        ),
    ],
)
def test_changed_reference_file_is_refused(folder, damage, message: str) -> None:
    damage(folder / "references" / f"{REFERENCES[0].key}.png")
    with pytest.raises(LayoutmarkError, match=rf"suite toy, references/.*{message}.*suites build toy"):
        load_built_suite(folder).references("toy-0")


def test_wrong_reference_key_is_refused(tmp_path) -> None:
    wrong = replace(REFERENCES[0], key="cat")
    with pytest.raises(LayoutmarkError, match=r"reference 'cat': found a key that is not the sha256.*make_reference"):
        save_built_suite(BuiltSuite((make_sample(0, "cat"),), ("cat",), references=(wrong,)), ITEM, tmp_path / "x")
