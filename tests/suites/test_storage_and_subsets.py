"""Built suites on disk, and suites restricted by vocabulary and limit."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from layoutmark.api import BuiltSuite
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Sample
from layoutmark.registry import Registry
from layoutmark.registry.card_types import Source, SuiteItem
from layoutmark.suites import FileSuite, restrict, split_by_vocabulary, storage

ITEM = SuiteItem("toy", "Toy", "3", Source.BUILD)


def make_sample(number: int, *categories: str) -> Sample:
    mask = np.zeros((4, 6), dtype=bool)
    mask[1:3, number % 5] = True
    boxes = [Box(0.1, 0.05 * (i + 1), 1 / 3, 0.9) for i in range(len(categories))]
    instances = tuple(
        Instance(str(i), f"a {c}", c, box, mask=Mask.from_array(mask), point=(0.2, 0.3))
        for i, (c, box) in enumerate(zip(categories, boxes, strict=True))
    )
    return Sample(f"toy-{number}", " and ".join(categories), Layout(Canvas(60, 40), instances), {"count": "1"})


CATEGORIES = [("kite",), ("kite", "tent"), ("boat",), ("kite", "boat", "drum"), ("tent",)]
SAMPLES = [make_sample(i, *things) for i, things in enumerate(CATEGORIES)]


def make_built_suite(samples=SAMPLES) -> BuiltSuite:
    return BuiltSuite(tuple(samples), ("boat", "drum", "kite", "tent"), {"records": 6, "skipped": 1}, ("one skipped",))


@pytest.fixture
def folder(tmp_path) -> Path:
    return storage.save_built_suite(make_built_suite(), ITEM, tmp_path / "suites" / "toy")


def test_written_suite_is_read_back_unchanged(folder) -> None:
    suite = storage.load_built_suite(folder)
    assert suite.samples == make_built_suite().samples
    assert (suite.name, suite.version, suite.notes) == ("toy", "3", ("one skipped",))
    assert suite.categories == ("boat", "drum", "kite", "tent")
    assert suite.counts == {"records": 6, "skipped": 1}
    assert suite.true_image("toy-1") is None
    assert suite.references("toy-1") == {}
    assert sorted(p.suffix for p in folder.iterdir()) == [".json", ".jsonl", ".jsonl"]


def test_digest_depends_on_content_only(tmp_path, folder) -> None:
    digest = storage.load_built_suite(folder).digest
    assert (
        storage.load_built_suite(storage.save_built_suite(make_built_suite(), ITEM, tmp_path / "again")).digest
        == digest
    )
    changed = make_built_suite([*SAMPLES[:-1], make_sample(4, "drum")])
    assert storage.load_built_suite(storage.save_built_suite(changed, ITEM, tmp_path / "other")).digest != digest
    reversed_suite = make_built_suite(SAMPLES[::-1])
    assert (
        storage.load_built_suite(storage.save_built_suite(reversed_suite, ITEM, tmp_path / "turned")).digest != digest
    )


def test_rebuilding_replaces_the_old_files(folder) -> None:
    storage.save_built_suite(make_built_suite(SAMPLES[:2]), ITEM, folder)
    assert [s.id for s in storage.load_built_suite(folder).samples] == ["toy-0", "toy-1"]
    assert len(list(folder.iterdir())) == 3


def test_build_killed_before_its_last_step_leaves_the_old_suite(folder, monkeypatch) -> None:
    real_write_text = storage.write_text

    def die_at_last_step(path: Path, text: str) -> None:
        if path.name == storage.META_FILE:
            raise KeyboardInterrupt
        real_write_text(path, text)

    monkeypatch.setattr(storage, "write_text", die_at_last_step)
    with pytest.raises(KeyboardInterrupt):
        storage.save_built_suite(make_built_suite(SAMPLES[:2]), ITEM, folder)
    assert len(storage.load_built_suite(folder).samples) == len(SAMPLES)


def test_edited_sample_is_refused(folder) -> None:
    path = next(folder.glob("samples-*.jsonl"))
    path.write_text(path.read_text("utf-8").replace("kite and tent", "kite and tents"), "utf-8")
    with pytest.raises(LayoutmarkError, match=r"suite toy: found samples-.*edited or damaged.*sha256.*build toy"):
        storage.load_built_suite(folder)


def test_missing_line_and_broken_json_are_refused(folder) -> None:
    path = next(folder.glob("samples-*.jsonl"))
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-1]), "utf-8")
    with pytest.raises(LayoutmarkError, match="edited or damaged"):
        storage.load_built_suite(folder)
    path.write_text("".join(lines)[:-9], "utf-8")
    with pytest.raises(LayoutmarkError, match="edited or damaged"):
        storage.load_built_suite(folder)
    path.unlink()
    with pytest.raises(LayoutmarkError, match="FileNotFoundError"):
        storage.load_built_suite(folder)


def test_edited_note_is_refused(folder) -> None:
    path = folder / storage.META_FILE
    path.write_text(path.read_text("utf-8").replace("one skipped", "none skipped"), "utf-8")
    with pytest.raises(LayoutmarkError, match=r"found suite\.json edited"):
        storage.load_built_suite(folder)


def test_unknown_format_is_refused(folder) -> None:
    path = folder / storage.META_FILE
    path.write_text(path.read_text("utf-8").replace(storage.FORMAT, "layoutmark-suite-9"), "utf-8")
    with pytest.raises(LayoutmarkError, match=r"found format layoutmark-suite-9; expected layoutmark-suite-2"):
        storage.load_built_suite(folder)


def test_error_for_a_missing_suite_says_how_to_build_it(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match=r"suite toy: found not built yet.*layoutmark suites build toy --source"):
        storage.load_built_suite(tmp_path / "toy")


def test_empty_suites_and_duplicate_ids_are_refused(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match="no sample kept"):
        storage.save_built_suite(make_built_suite([]), ITEM, tmp_path / "a")
    with pytest.raises(LayoutmarkError, match="duplicate sample ids: toy-0"):
        storage.save_built_suite(make_built_suite([SAMPLES[0], SAMPLES[0]]), ITEM, tmp_path / "b")
    assert not (tmp_path / "a").exists()


def test_notes_say_what_a_restriction_leaves_out(folder) -> None:
    suite = restrict(storage.load_built_suite(folder), ["kite", "tent"])
    assert [s.id for s in suite.samples] == ["toy-0", "toy-1", "toy-4"]
    assert list(suite.notes) == [
        "one skipped",
        "2 of 5 samples use categories outside the stack's vocabulary of 2: left out "
        "(samples per category: boat 2, drum 1)",
    ]


def test_limit_with_and_without_restriction(folder) -> None:
    suite = storage.load_built_suite(folder)
    restricted_and_limited = restrict(suite, ["kite", "tent"], 2)
    assert [s.id for s in restricted_and_limited.samples] == ["toy-0", "toy-1"]
    assert restricted_and_limited.notes[-1] == "first 2 of 3 samples in the suite's order after restriction"
    limited = restrict(suite, None, 4)
    assert limited.notes[-1] == "first 4 of 5 samples in the suite's order"
    assert len({suite.digest, restricted_and_limited.digest, limited.digest}) == 3
    assert restrict(suite, ["tent", "kite"], 2).digest == restricted_and_limited.digest


def test_suite_that_needs_no_restriction_is_returned_unchanged(folder) -> None:
    suite = storage.load_built_suite(folder)
    assert restrict(suite, None, None) is suite
    assert restrict(suite, ["boat", "drum", "kite", "tent", "lamp"], 5) is suite


def test_many_missing_categories_are_named_by_frequency() -> None:
    samples = [make_sample(i, *(f"thing{j}" for j in range(i + 1))) for i in range(10)]
    kept, outside, missing = split_by_vocabulary(samples, ["thing0"])
    assert [s.id for s in kept] == ["toy-0"]
    assert outside == 9
    assert list(missing.items())[:2] == [("thing1", 9), ("thing2", 8)]
    suite = FileSuite("toy", "1", (), samples, "0", ())
    assert restrict(suite, ["thing0"]).notes[0].endswith("thing7 3, thing8 2 and 1 more)")


def test_empty_restriction_and_invalid_limit_are_errors(folder) -> None:
    suite = storage.load_built_suite(folder)
    with pytest.raises(LayoutmarkError, match=r"0 of 5 samples within the stack's vocabulary \(outside: kite 3"):
        restrict(suite, ["lamp"])
    with pytest.raises(LayoutmarkError, match="limit: found 0; expected at least 1"):
        restrict(suite, None, 0)


def test_subset_still_has_images() -> None:
    suite = Registry().get_suite("mini-refs").load().open_suite("mini-refs")
    subset = restrict(suite, ["cat", "dog", "bird", "car"])
    sample_id = subset.samples[0].id
    assert 0 < len(subset.samples) < len(suite.samples)
    assert np.array_equal(subset.true_image(sample_id), suite.true_image(sample_id))
    assert set(subset.references(sample_id)) == {i.reference for i in subset.samples[0].layout.instances}


def test_meta_is_plain_json_with_counts(folder) -> None:
    meta = json.loads((folder / storage.META_FILE).read_text("utf-8"))
    assert meta["counts"] == {"records": 6, "skipped": 1}
    assert meta["samples"] == next(folder.glob("samples-*.jsonl")).name


def test_folder_with_foreign_files_is_left_unchanged(tmp_path) -> None:
    (tmp_path / "references").mkdir()
    (tmp_path / "references" / "mine.png").write_bytes(b"mine")
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(LayoutmarkError, match=r"found a folder with 'thesis\.tex'; expected a new or empty folder"):
        storage.save_built_suite(make_built_suite(), ITEM, tmp_path)
    with pytest.raises(LayoutmarkError, match=r"thesis\.tex: found a file"):
        storage.save_built_suite(make_built_suite(), ITEM, tmp_path / "thesis.tex")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["references", "thesis.tex"]
    (tmp_path / "thesis.tex").unlink()
    storage.save_built_suite(make_built_suite(), ITEM, tmp_path)
    (tmp_path / "notes.txt").write_text("mine, beside the suite")
    storage.save_built_suite(make_built_suite(SAMPLES[:2]), ITEM, tmp_path)
    assert (tmp_path / "references" / "mine.png").read_bytes() == b"mine"
    assert (tmp_path / "notes.txt").is_file()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_at_any_moment_leaves_a_complete_suite(tmp_path) -> None:
    """A process that alternately writes two suites to one folder is killed at a random moment."""
    first_suite, second_suite = (
        make_built_suite([make_sample(n, "kite") for n in range(300)]),
        make_built_suite([make_sample(n, "boat") for n in range(200)]),
    )
    folder = storage.save_built_suite(first_suite, ITEM, tmp_path / "toy")
    digests = {storage.content_digest(b.categories, b.samples) for b in (first_suite, second_suite)}
    rng = np.random.default_rng(0)
    digests_after_kills = set()
    for _ in range(12):
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            while True:
                for built in (second_suite, first_suite):
                    storage.save_built_suite(built, ITEM, folder)
        time.sleep(rng.uniform(0.01, 0.3))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        digests_after_kills.add(storage.load_built_suite(folder).digest)
    assert digests_after_kills <= digests
    storage.save_built_suite(first_suite, ITEM, folder)
    assert len(list(folder.iterdir())) == 3, "the next build removes what killed builds left behind"
