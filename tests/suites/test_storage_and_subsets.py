"""Built suites on disk, and suites narrowed to a vocabulary and a limit."""

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
from layoutmark.suites import restricted, within_vocabulary
from layoutmark.suites import storage as room

ITEM = SuiteItem("toy", "Toy", "3", Source.BUILD)


def sample(number: int, *categories: str) -> Sample:
    mask = np.zeros((4, 6), dtype=bool)
    mask[1:3, number % 5] = True
    boxes = [Box(0.1, 0.05 * (i + 1), 1 / 3, 0.9) for i in range(len(categories))]
    instances = tuple(
        Instance(str(i), f"a {c}", c, box, mask=Mask.from_array(mask), point=(0.2, 0.3))
        for i, (c, box) in enumerate(zip(categories, boxes, strict=True))
    )
    return Sample(f"toy-{number}", " and ".join(categories), Layout(Canvas(60, 40), instances), {"count": "1"})


THINGS = [("kite",), ("kite", "tent"), ("boat",), ("kite", "boat", "drum"), ("tent",)]
KITES = [sample(i, *things) for i, things in enumerate(THINGS)]


def built(samples=KITES) -> BuiltSuite:
    return BuiltSuite(tuple(samples), ("boat", "drum", "kite", "tent"), {"records": 6, "skipped": 1}, ("one skipped",))


@pytest.fixture
def folder(tmp_path) -> Path:
    return room.save_built_suite(built(), ITEM, tmp_path / "suites" / "toy")


def test_what_was_written_is_read_back(folder) -> None:
    suite = room.load_built_suite(folder)
    assert suite.samples == built().samples
    assert (suite.name, suite.version, suite.notes) == ("toy", "3", ("one skipped",))
    assert suite.categories == ("boat", "drum", "kite", "tent")
    assert suite.counts == {"records": 6, "skipped": 1}
    assert suite.true_image("toy-1") is None
    assert suite.references("toy-1") == {}
    assert sorted(p.suffix for p in folder.iterdir()) == [".json", ".jsonl", ".jsonl"]


def test_the_digest_follows_the_content_alone(tmp_path, folder) -> None:
    first = room.load_built_suite(folder).digest
    assert room.load_built_suite(room.save_built_suite(built(), ITEM, tmp_path / "again")).digest == first
    other = built([*KITES[:-1], sample(4, "drum")])
    assert room.load_built_suite(room.save_built_suite(other, ITEM, tmp_path / "other")).digest != first
    turned = built(KITES[::-1])
    assert room.load_built_suite(room.save_built_suite(turned, ITEM, tmp_path / "turned")).digest != first


def test_building_again_replaces_the_old_files(folder) -> None:
    room.save_built_suite(built(KITES[:2]), ITEM, folder)
    assert [s.id for s in room.load_built_suite(folder).samples] == ["toy-0", "toy-1"]
    assert len(list(folder.iterdir())) == 3


def test_a_build_killed_before_its_last_step_leaves_the_old_suite(folder, monkeypatch) -> None:
    real = room.write_text

    def dies(path: Path, text: str) -> None:
        if path.name == room.META:
            raise KeyboardInterrupt
        real(path, text)

    monkeypatch.setattr(room, "write_text", dies)
    with pytest.raises(KeyboardInterrupt):
        room.save_built_suite(built(KITES[:2]), ITEM, folder)
    assert len(room.load_built_suite(folder).samples) == len(KITES)


def test_an_edited_sample_is_refused(folder) -> None:
    path = next(folder.glob("samples-*.jsonl"))
    path.write_text(path.read_text("utf-8").replace("kite and tent", "kite and tents"), "utf-8")
    with pytest.raises(LayoutmarkError, match=r"suite toy: found samples-.*edited or damaged.*sha256.*build toy"):
        room.load_built_suite(folder)


def test_a_dropped_line_and_broken_json_are_refused(folder) -> None:
    path = next(folder.glob("samples-*.jsonl"))
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-1]), "utf-8")
    with pytest.raises(LayoutmarkError, match="edited or damaged"):
        room.load_built_suite(folder)
    path.write_text("".join(lines)[:-9], "utf-8")
    with pytest.raises(LayoutmarkError, match="edited or damaged"):
        room.load_built_suite(folder)
    path.unlink()
    with pytest.raises(LayoutmarkError, match="FileNotFoundError"):
        room.load_built_suite(folder)


def test_an_edited_note_is_refused(folder) -> None:
    path = folder / room.META
    path.write_text(path.read_text("utf-8").replace("one skipped", "none skipped"), "utf-8")
    with pytest.raises(LayoutmarkError, match=r"found suite\.json edited"):
        room.load_built_suite(folder)


def test_another_format_is_refused(folder) -> None:
    path = folder / room.META
    path.write_text(path.read_text("utf-8").replace(room.FORMAT, "layoutmark-suite-9"), "utf-8")
    with pytest.raises(LayoutmarkError, match=r"found format layoutmark-suite-9; expected layoutmark-suite-2"):
        room.load_built_suite(folder)


def test_a_suite_not_built_says_how(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match=r"suite toy: found not built yet.*layoutmark suites build toy --source"):
        room.load_built_suite(tmp_path / "toy")


def test_nothing_kept_and_ids_used_twice_are_refused(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match="no sample kept"):
        room.save_built_suite(built([]), ITEM, tmp_path / "a")
    with pytest.raises(LayoutmarkError, match="sample ids used twice: toy-0"):
        room.save_built_suite(built([KITES[0], KITES[0]]), ITEM, tmp_path / "b")
    assert not (tmp_path / "a").exists()


def test_restriction_says_what_it_leaves_out(folder) -> None:
    suite = restricted(room.load_built_suite(folder), ["kite", "tent"])
    assert [s.id for s in suite.samples] == ["toy-0", "toy-1", "toy-4"]
    assert list(suite.notes) == [
        "one skipped",
        "2 of 5 samples use categories outside the stack's vocabulary of 2: left out "
        "(samples per category: boat 2, drum 1)",
    ]


def test_limit_after_restriction_and_alone(folder) -> None:
    suite = room.load_built_suite(folder)
    both = restricted(suite, ["kite", "tent"], 2)
    assert [s.id for s in both.samples] == ["toy-0", "toy-1"]
    assert both.notes[-1] == "first 2 of 3 samples in the suite's order after restriction"
    alone = restricted(suite, None, 4)
    assert alone.notes[-1] == "first 4 of 5 samples in the suite's order"
    assert len({suite.digest, both.digest, alone.digest}) == 3
    assert restricted(suite, ["tent", "kite"], 2).digest == both.digest


def test_a_suite_that_fits_comes_back_itself(folder) -> None:
    suite = room.load_built_suite(folder)
    assert restricted(suite, None, None) is suite
    assert restricted(suite, ["boat", "drum", "kite", "tent", "lamp"], 5) is suite


def test_many_missing_categories_are_named_by_frequency() -> None:
    samples = [sample(i, *(f"thing{j}" for j in range(i + 1))) for i in range(10)]
    kept, outside, missing = within_vocabulary(samples, ["thing0"])
    assert [s.id for s in kept] == ["toy-0"]
    assert outside == 9
    assert list(missing.items())[:2] == [("thing1", 9), ("thing2", 8)]
    suite = room.FileSuite("toy", "1", (), samples, "0", ())
    assert restricted(suite, ["thing0"]).notes[0].endswith("thing7 3, thing8 2 and 1 more)")


def test_nothing_left_and_a_senseless_limit_are_errors(folder) -> None:
    suite = room.load_built_suite(folder)
    with pytest.raises(LayoutmarkError, match=r"0 of 5 samples within the stack's vocabulary \(outside: kite 3"):
        restricted(suite, ["lamp"])
    with pytest.raises(LayoutmarkError, match="limit: found 0; expected at least 1"):
        restricted(suite, None, 0)


def test_a_narrowed_suite_still_shows_pictures() -> None:
    whole = Registry().get_suite("mini-refs").load().open_suite("mini-refs")
    few = restricted(whole, ["cat", "dog", "bird", "car"])
    chosen = few.samples[0].id
    assert 0 < len(few.samples) < len(whole.samples)
    assert np.array_equal(few.true_image(chosen), whole.true_image(chosen))
    assert set(few.references(chosen)) == {i.reference for i in few.samples[0].layout.instances}


def test_meta_is_plain_json_with_counts(folder) -> None:
    meta = json.loads((folder / room.META).read_text("utf-8"))
    assert meta["counts"] == {"records": 6, "skipped": 1}
    assert meta["samples"] == next(folder.glob("samples-*.jsonl")).name


def test_a_folder_with_other_files_is_left_alone(tmp_path) -> None:
    (tmp_path / "references").mkdir()
    (tmp_path / "references" / "mine.png").write_bytes(b"mine")
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(LayoutmarkError, match=r"found a folder with 'thesis\.tex'; expected a new or empty folder"):
        room.save_built_suite(built(), ITEM, tmp_path)
    with pytest.raises(LayoutmarkError, match=r"thesis\.tex: found a file"):
        room.save_built_suite(built(), ITEM, tmp_path / "thesis.tex")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["references", "thesis.tex"]
    (tmp_path / "thesis.tex").unlink()
    room.save_built_suite(built(), ITEM, tmp_path)
    (tmp_path / "notes.txt").write_text("mine, beside the suite")
    room.save_built_suite(built(KITES[:2]), ITEM, tmp_path)
    assert (tmp_path / "references" / "mine.png").read_bytes() == b"mine"
    assert (tmp_path / "notes.txt").is_file()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_at_any_moment_leaves_one_suite_whole(tmp_path) -> None:
    """Real kills: a process that writes one suite over the other in turn is killed at a random moment."""
    first, second = built([sample(n, "kite") for n in range(300)]), built([sample(n, "boat") for n in range(200)])
    folder = room.save_built_suite(first, ITEM, tmp_path / "toy")
    digests = {room.content_digest(b.categories, b.samples) for b in (first, second)}
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(12):
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            while True:
                for made in (second, first):
                    room.save_built_suite(made, ITEM, folder)
        time.sleep(rng.uniform(0.01, 0.3))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        seen.add(room.load_built_suite(folder).digest)
    assert seen <= digests
    room.save_built_suite(first, ITEM, folder)
    assert len(list(folder.iterdir())) == 3, "what kills left is gone after the next build"
