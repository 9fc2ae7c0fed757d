"""Published ids: shipped with cards, compared with what is built, told by name, and written by one command."""

from __future__ import annotations

import importlib
import json
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from layoutmark.api import BuiltSuite
from layoutmark.cli.main import main
from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.registry import Registry
from layoutmark.registry.card_types import PublishedSuite, Source, SuiteItem
from layoutmark.suites import compared, load_built_suite
from layoutmark.suites.published import read_ids
from layoutmark.suites.storage import content_digest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LAYOUT = Layout(Canvas(8, 8), (Instance("0", "cat", "cat", Box(0, 0, 1, 1)),))
PUBLISHING = sorted(name for name, entry in Registry().suites().items() if entry.suite.published)


def built(*ids: str) -> BuiltSuite:
    return BuiltSuite(tuple(Sample(i, "a cat", LAYOUT) for i in ids), ("cat",))


def card(folder: Path, *ids: str, **more) -> SuiteItem:
    (folder / "ids").mkdir(exist_ok=True)
    data = "".join(f"{i}\n" for i in ids).encode()
    (folder / "ids" / "toy.txt").write_bytes(data)
    published = PublishedSuite("a file", len(ids), ids=sha256(data).hexdigest(), **more)
    return SuiteItem("toy", "Toy", "1", Source.BUILD, published=published)


def test_the_same_ids_are_the_published_suite(tmp_path) -> None:
    digest = content_digest(("cat",), built("a", "b").samples)
    for more, said in (({}, "same 2 ids (a file)"), ({"digest": digest}, "same 2 ids and content (a file)")):
        found = compared(built("a", "b"), card(tmp_path, "a", "b", **more), tmp_path)
        assert found.same
        assert found.note() == f"the published suite: {said}"
        assert found.records() == []


@pytest.mark.parametrize(
    ("ids", "more", "said"),
    [
        (("a", "c"), {}, "1 published ids missing: b; 1 ids that are not published: c"),
        (("b", "a"), {}, "the same ids in another order"),
        (("a", "b"), {"digest": "0" * 64}, "the same ids with other content"),
    ],
)
def test_whatever_differs_is_named(tmp_path, ids, more, said: str) -> None:
    found = compared(built(*ids), card(tmp_path, "a", "b", **more), tmp_path)
    assert not found.same
    assert found.note() == f"not the published suite (a file): {said}"


def test_every_id_has_a_record(tmp_path) -> None:
    ids = [f"s{n}" for n in range(40)]
    found = compared(built("s0", "x"), card(tmp_path, *ids), tmp_path)
    assert [(e.id, e.outcome) for e in found.records()] == [*((i, "skipped") for i in ids[1:]), ("x", "flagged")]
    assert found.note().count(", s") == 7


def test_a_list_that_is_not_the_published_one_is_refused(tmp_path) -> None:
    item = card(tmp_path, "a", "b")
    (tmp_path / "ids" / "toy.txt").write_text("a\nc\n")
    with pytest.raises(LayoutmarkError, match=r"suite toy, ids/toy\.txt: found sha256 .*expected the published ids"):
        compared(built("a", "b"), item, tmp_path)
    (tmp_path / "ids" / "toy.txt").unlink()
    with pytest.raises(LayoutmarkError, match="found no such file"):
        compared(built("a", "b"), item, tmp_path)


def test_a_number_alone_can_be_published(tmp_path) -> None:
    item = replace(card(tmp_path), published=PublishedSuite("a file", 3))
    assert compared(built("a", "b", "c"), item, tmp_path).same
    assert "1 of unknown name" in compared(built("a", "b"), item, tmp_path).note()
    assert compared(built("a"), replace(item, published=None), tmp_path) is None


@pytest.mark.parametrize("name", PUBLISHING)
def test_every_card_ships_the_ids_it_publishes(name: str) -> None:
    entry = Registry().get_suite(name)
    published = entry.suite.published
    assert re.search(r"[0-9a-f]{40}", published.source) or not published.ids
    if published.ids:
        ids = read_ids(name, published, entry.folder)
        assert len(ids) == len(set(ids)) == published.samples


def test_the_files_of_the_known_commits_give_the_published_suites() -> None:
    """The bytes of the commit that a card names give the digest that it publishes."""
    if not DATA.is_dir():
        pytest.skip("the gathered files are not beside the checkout")
    places = {"layoutgpt": "layoutgpt_output", "instancediffusion_demo": "instancediffusion"}
    whole = [name for name in PUBLISHING if Registry().get_suite(name).suite.published.digest]
    assert len(whole) >= 6
    for name in whole:
        entry = Registry().get_suite(name)
        made = entry.load().build_suite(name, DATA / "layouts" / places.get(name, name))
        found = compared(made, entry.suite, entry.folder)
        assert found.same, found.note()
        assert found.content


def test_part_of_dreambooth_lacks_just_its_missing_subjects() -> None:
    if not DATA.is_dir():
        pytest.skip("the gathered files are not beside the checkout")
    build = importlib.import_module("layoutmark.datasets.dreambooth.build")
    here = {path.name for path in (DATA / "refs" / "dreambooth").iterdir() if path.is_dir()}
    entry = Registry().get_suite("dreambooth")
    found = compared(build.build_suite("dreambooth", DATA / "refs"), entry.suite, entry.folder)
    assert found.added == ()
    assert len(found.missing) == (30 - len(here)) * 75
    assert not any(name.split("-")[1] in here for name in found.missing)
    listing = json.loads((DATA / "refs" / "uno" / "dreambench_singleip.json").read_text("utf-8"))
    entry = Registry().get_suite("dreambench")
    found = compared(build.build_suite("dreambench", DATA / "refs"), entry.suite, entry.folder)
    files = [Path(*Path(record["image_paths"][0]).parts[-2:]) for record in listing]
    gone = [n for n, file in enumerate(files) if not (DATA / "refs" / "dreambooth" / file).is_file()]
    assert found.missing == tuple(f"dreambench-{n:04}" for n in gone)


def test_the_commands(tmp_path, capsys) -> None:
    """Writing a list, putting it on a card of one's own, building against it."""
    guest = tmp_path / "own" / "toy_form"
    guest.mkdir(parents=True)
    lines = [{"id": f"toy-{n}", "prompt": "a cat", "canvas": [8, 8], "provenance": {"licence": "mine"}, "instances": [
        {"id": "0", "phrase": "cat", "category": "cat", "box": [0, 0, 0.5, 1]}]} for n in range(3)]  # fmt: skip
    source = tmp_path / "all.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    out = tmp_path / "out"
    assert main(["suites", "build", "jsonl", "--source", str(source), "--out", str(out)]) == 0
    assert main(["suites", "show", str(out), "--ids"]) == 0
    assert capsys.readouterr().out.endswith("toy-0\ntoy-1\ntoy-2\n")
    assert main(["suites", "export", str(out), "--form", "ids", "--out", str(tmp_path / "ids")]) == 0
    told = capsys.readouterr().out
    assert f'digest = "{load_built_suite(out).digest}"' in told
    assert sha256((tmp_path / "ids" / "jsonl.txt").read_bytes()).hexdigest() in told
    # A card of one's own that publishes what was printed, over the same builder.
    jsonl = Registry().get_suite("jsonl").folder
    (guest / "build.py").write_text((jsonl / "build.py").read_text("utf-8"), "utf-8")
    published = told[told.index("[suites.published]") :]
    text = (jsonl / "suite.toml").read_text("utf-8").replace('"jsonl"', '"toy_form"')
    (guest / "suite.toml").write_text(text + "\n" + published, "utf-8")
    (guest / "ids").mkdir()
    (guest / "ids" / "toy_form.txt").write_bytes((tmp_path / "ids" / "jsonl.txt").read_bytes())
    build = ["suites", "build", "toy_form", "--methods-path", str(guest.parent), "--out", str(tmp_path / "again")]
    assert main([*build, "--source", str(source), "--published"]) == 0
    assert "the published suite: same 3 ids and content" in capsys.readouterr().out
    source.write_text("".join(json.dumps(line) + "\n" for line in lines[1:]), "utf-8")
    assert main([*build, "--source", str(source), "--published"]) == 3
    assert "1 published ids missing: toy-0" in capsys.readouterr().err
    assert len(load_built_suite(tmp_path / "again").samples) == 3, "nothing was written"
    assert main([*build, "--source", str(source)]) == 0
    assert "not the published suite" in capsys.readouterr().out
    suite = load_built_suite(tmp_path / "again")
    assert "1 published ids missing: toy-0" in suite.notes[0]
    assert '"toy-0"' in next((tmp_path / "again").glob("records-*.jsonl")).read_text("utf-8")
    assert main(["suites", "build", "jsonl", "--source", str(source), "--out", str(out), "--published"]) == 3
    assert "nothing published" in capsys.readouterr().err
