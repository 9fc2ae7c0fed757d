"""Published ids: shipped with cards, compared with built suites, and written by a command."""

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
from layoutmark.suites import compare_with_published, load_built_suite
from layoutmark.suites.published import read_published_ids
from layoutmark.suites.storage import content_digest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LAYOUT = Layout(Canvas(8, 8), (Instance("0", "cat", "cat", Box(0, 0, 1, 1)),))
PUBLISHED_SUITES = sorted(name for name, entry in Registry().suites().items() if entry.suite.published)


def make_built_suite(*ids: str) -> BuiltSuite:
    return BuiltSuite(tuple(Sample(i, "a cat", LAYOUT) for i in ids), ("cat",))


def make_card(folder: Path, *ids: str, **digests) -> SuiteItem:
    (folder / "ids").mkdir(exist_ok=True)
    data = "".join(f"{i}\n" for i in ids).encode()
    (folder / "ids" / "toy.txt").write_bytes(data)
    published = PublishedSuite("a file", len(ids), ids=sha256(data).hexdigest(), **digests)
    return SuiteItem("toy", "Toy", "1", Source.BUILD, published=published)


def test_equal_ids_match_the_published_suite(tmp_path) -> None:
    digest = content_digest(("cat",), make_built_suite("a", "b").samples)
    for digests, message in (({}, "same 2 ids (a file)"), ({"digest": digest}, "same 2 ids and content (a file)")):
        comparison = compare_with_published(
            make_built_suite("a", "b"), make_card(tmp_path, "a", "b", **digests), tmp_path
        )
        assert comparison.matches
        assert comparison.note() == f"the published suite: {message}"
        assert comparison.ledger_entries() == []


@pytest.mark.parametrize(
    ("ids", "digests", "message"),
    [
        (("a", "c"), {}, "1 published ids missing: b; 1 ids that are not published: c"),
        (("b", "a"), {}, "the same ids in another order"),
        (("a", "b"), {"digest": "0" * 64}, "the same ids with other content"),
    ],
)
def test_differences_from_the_published_suite_are_described(tmp_path, ids, digests, message: str) -> None:
    comparison = compare_with_published(make_built_suite(*ids), make_card(tmp_path, "a", "b", **digests), tmp_path)
    assert not comparison.matches
    assert comparison.note() == f"not the published suite (a file): {message}"


def test_every_differing_id_has_a_ledger_entry(tmp_path) -> None:
    ids = [f"s{n}" for n in range(40)]
    comparison = compare_with_published(make_built_suite("s0", "x"), make_card(tmp_path, *ids), tmp_path)
    assert [(e.id, e.outcome) for e in comparison.ledger_entries()] == [
        *((i, "skipped") for i in ids[1:]),
        ("x", "flagged"),
    ]
    assert comparison.note().count(", s") == 7


def test_changed_list_of_ids_is_refused(tmp_path) -> None:
    item = make_card(tmp_path, "a", "b")
    (tmp_path / "ids" / "toy.txt").write_text("a\nc\n")
    with pytest.raises(LayoutmarkError, match=r"suite toy, ids/toy\.txt: found sha256 .*expected the published ids"):
        compare_with_published(make_built_suite("a", "b"), item, tmp_path)
    (tmp_path / "ids" / "toy.txt").unlink()
    with pytest.raises(LayoutmarkError, match="found no such file"):
        compare_with_published(make_built_suite("a", "b"), item, tmp_path)


def test_number_of_samples_can_be_published_without_ids(tmp_path) -> None:
    item = replace(make_card(tmp_path), published=PublishedSuite("a file", 3))
    assert compare_with_published(make_built_suite("a", "b", "c"), item, tmp_path).matches
    assert "1 of unknown name" in compare_with_published(make_built_suite("a", "b"), item, tmp_path).note()
    assert compare_with_published(make_built_suite("a"), replace(item, published=None), tmp_path) is None


@pytest.mark.parametrize("name", PUBLISHED_SUITES)
def test_every_card_has_the_ids_it_publishes(name: str) -> None:
    entry = Registry().get_suite(name)
    published = entry.suite.published
    assert re.search(r"[0-9a-f]{40}", published.source) or not published.ids
    if published.ids:
        ids = read_published_ids(name, published, entry.folder)
        assert len(ids) == len(set(ids)) == published.samples


def test_source_files_give_the_published_suites() -> None:
    """The files of the commit named by a card give the digest that it publishes."""
    if not DATA.is_dir():
        pytest.skip("the shared data files are not available")
    folders = {"layoutgpt": "layoutgpt_output", "instancediffusion_demo": "instancediffusion"}
    names_with_digest = [name for name in PUBLISHED_SUITES if Registry().get_suite(name).suite.published.digest]
    assert len(names_with_digest) >= 6
    for name in names_with_digest:
        entry = Registry().get_suite(name)
        built = entry.load().build_suite(name, DATA / "layouts" / folders.get(name, name))
        comparison = compare_with_published(built, entry.suite, entry.folder)
        assert comparison.matches, comparison.note()
        assert comparison.content_matches


def test_partial_dreambooth_lacks_only_its_missing_subjects() -> None:
    if not DATA.is_dir():
        pytest.skip("the shared data files are not available")
    build = importlib.import_module("layoutmark.datasets.dreambooth.build")
    available_subjects = {path.name for path in (DATA / "refs" / "dreambooth").iterdir() if path.is_dir()}
    entry = Registry().get_suite("dreambooth")
    comparison = compare_with_published(build.build_suite("dreambooth", DATA / "refs"), entry.suite, entry.folder)
    assert comparison.added == ()
    assert len(comparison.missing) == (30 - len(available_subjects)) * 75
    assert not any(name.split("-")[1] in available_subjects for name in comparison.missing)
    listing = json.loads((DATA / "refs" / "uno" / "dreambench_singleip.json").read_text("utf-8"))
    entry = Registry().get_suite("dreambench")
    comparison = compare_with_published(build.build_suite("dreambench", DATA / "refs"), entry.suite, entry.folder)
    files = [Path(*Path(record["image_paths"][0]).parts[-2:]) for record in listing]
    missing_numbers = [n for n, file in enumerate(files) if not (DATA / "refs" / "dreambooth" / file).is_file()]
    assert comparison.missing == tuple(f"dreambench-{n:04}" for n in missing_numbers)


def test_publishing_with_the_commands(tmp_path, capsys) -> None:
    """Write a list of ids, publish it on the card of a plug-in, and build against it."""
    plugin = tmp_path / "own" / "toy_form"
    plugin.mkdir(parents=True)
    lines = [{"id": f"toy-{n}", "prompt": "a cat", "canvas": [8, 8], "provenance": {"licence": "mine"}, "instances": [
        {"id": "0", "phrase": "cat", "category": "cat", "box": [0, 0, 0.5, 1]}]} for n in range(3)]  # fmt: skip
    source = tmp_path / "all.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    out = tmp_path / "out"
    assert main(["suites", "build", "jsonl", "--source", str(source), "--out", str(out)]) == 0
    assert main(["suites", "show", str(out), "--ids"]) == 0
    assert capsys.readouterr().out.endswith("toy-0\ntoy-1\ntoy-2\n")
    assert main(["suites", "export", str(out), "--form", "ids", "--out", str(tmp_path / "ids")]) == 0
    output = capsys.readouterr().out
    assert f'digest = "{load_built_suite(out).digest}"' in output
    assert sha256((tmp_path / "ids" / "jsonl.txt").read_bytes()).hexdigest() in output
    # A plug-in with the same builder whose card publishes the printed lines.
    jsonl = Registry().get_suite("jsonl").folder
    (plugin / "build.py").write_text((jsonl / "build.py").read_text("utf-8"), "utf-8")
    published = output[output.index("[suites.published]") :]
    text = (jsonl / "suite.toml").read_text("utf-8").replace('"jsonl"', '"toy_form"')
    (plugin / "suite.toml").write_text(text + "\n" + published, "utf-8")
    (plugin / "ids").mkdir()
    (plugin / "ids" / "toy_form.txt").write_bytes((tmp_path / "ids" / "jsonl.txt").read_bytes())
    command = ["suites", "build", "toy_form", "--methods-path", str(plugin.parent), "--out", str(tmp_path / "again")]
    assert main([*command, "--source", str(source), "--published"]) == 0
    assert "the published suite: same 3 ids and content" in capsys.readouterr().out
    source.write_text("".join(json.dumps(line) + "\n" for line in lines[1:]), "utf-8")
    assert main([*command, "--source", str(source), "--published"]) == 3
    assert "1 published ids missing: toy-0" in capsys.readouterr().err
    assert len(load_built_suite(tmp_path / "again").samples) == 3, "nothing was written"
    assert main([*command, "--source", str(source)]) == 0
    assert "not the published suite" in capsys.readouterr().out
    suite = load_built_suite(tmp_path / "again")
    assert "1 published ids missing: toy-0" in suite.notes[0]
    assert '"toy-0"' in next((tmp_path / "again").glob("records-*.jsonl")).read_text("utf-8")
    assert main(["suites", "build", "jsonl", "--source", str(source), "--out", str(out), "--published"]) == 3
    assert "nothing published" in capsys.readouterr().err
