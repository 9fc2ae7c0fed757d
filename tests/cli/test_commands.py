"""Commands do what they say: lists, images made elsewhere, suites built from files, checks."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import layoutmark
from layoutmark.cli.main import main
from layoutmark.cli.output import print_rows
from layoutmark.generate.external import read_folder
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample

STACKS = Path(layoutmark.__file__).parent / "stacks"


@pytest.mark.parametrize("kind", ["methods", "suites", "stacks", "reports"])
def test_lists_are_json_if_asked(kind, places, capsys) -> None:
    assert main([kind, "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    names = [item["name"] for item in found[kind]]
    assert names
    assert found["broken"] == []
    assert main([kind, "show", names[0], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["title"]
    assert main([kind]) == 0
    shown = capsys.readouterr().out
    assert [n for n in names if n not in shown] == []


def test_threads_sleep_while_they_wait_unless_told(places, monkeypatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert main(["stacks"]) == 0
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert main(["stacks"]) == 0
    assert os.environ.pop("OMP_WAIT_POLICY") == "PASSIVE"
    assert main(["train", "nothing-of-this-name"]) == 3
    assert "OMP_WAIT_POLICY" not in os.environ, "training is faster when they do not"


def test_a_table_breaks_lines_between_words(places, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["methods", "list"]) == 0
    shown = capsys.readouterr().out
    assert [
        w for w in ("InstanceDiffusion", "Layout-and-Retouch,", "LocRef-Diffusion", "references") if w not in shown
    ] == []
    assert max(map(len, shown.splitlines())) <= 80


def test_a_users_method_is_listed_and_shown(paint, places, capsys) -> None:
    assert main(["methods", "show", "paint", "--methods-path", str(paint)]) == 0
    assert "Fills every box" in capsys.readouterr().out


def test_measure_and_report_alone(at_tiny, tmp_path, capsys, monkeypatch) -> None:
    shutil.copytree(at_tiny.runs, tmp_path / "runs")
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(tmp_path / "runs"))
    (tmp_path / "runs" / "tiny" / "report" / "index.html").unlink()
    assert main(["report", "tiny"]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page == tmp_path / "runs" / "tiny" / "report" / "index.html"
    assert page.read_bytes() == (at_tiny.folder / "report" / "index.html").read_bytes()


def folder_of(samples: list[dict[str, Any]], run: Path, folder: Path) -> Path:
    """The true images of a run as somebody else would deliver them."""
    folder.mkdir()
    for sample in samples:
        shutil.copy(run / sample["true_image"], folder / f"{sample['id']}.png")
    return folder


def test_forms_of_pictures_made_elsewhere(tmp_path) -> None:
    """Grey and opaque pictures are what they show; 16 bits and transparency are refused by name."""
    ids = [f"s{k}" for k in range(5)]
    samples = [Sample(i, "a cat", Layout(Canvas(8, 8), (Instance("0", "a cat", "cat", Box(0, 0, 1, 1)),))) for i in ids]
    suite = SimpleNamespace(samples=samples, name="made")
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    glass = np.dstack([grey, grey, grey, np.full((8, 8), 255, np.uint8)])
    Image.fromarray(grey).save(tmp_path / "s0.png")
    Image.fromarray(glass).save(tmp_path / "s1.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "s2.png")
    glass[0, 0, 3] = 254
    Image.fromarray(glass).save(tmp_path / "s3.png")
    Image.fromarray(grey).save(tmp_path / "s4.png", transparency=5)
    found = read_folder(tmp_path, suite, suite)
    for name in ("s0", "s1"):
        np.testing.assert_array_equal(found[name], np.dstack([grey] * 3))
    assert [found[name] for name in ("s2", "s3", "s4")] == [
        "a PNG of 16 bits a channel, not of 8", "a PNG with transparent pixels", "a PNG with transparent pixels",
    ]  # fmt: skip


def test_images_made_elsewhere(at_tiny, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(tmp_path / "runs"))
    samples = json.loads((at_tiny.folder / "results.json").read_text("utf-8"))["samples"]
    folder = folder_of(samples, at_tiny.folder, tmp_path / "theirs")
    (folder / f"{samples[1]['id']}.png").write_bytes(b"no picture")
    (folder / f"{samples[2]['id']}.png").unlink()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "mini-0100.png")  # beyond the limit

    assert main(["score", str(folder), "--limit", "3", "--json"]) == 0
    rows = {(r["method"], r["metric"]): r for r in json.loads(capsys.readouterr().out)}
    ours, ceiling = rows["theirs", "clip_iqa"], rows["ceiling", "clip_iqa"]
    assert (ours["n"], ours["of"], ours["unscored"]) == (1, 3, {"failed": 1, "missing": 1})
    assert (ceiling["n"], ceiling["of"]) == (3, 3)
    found = json.loads((tmp_path / "runs" / "score-theirs" / "results.json").read_text("utf-8"))
    assert [(i["status"], i["reason"]) for i in found["images"] if i["method"] == "theirs"] == [
        ("ok", ""), ("failed", "unreadable file: not a picture"), ("missing", "not in the store")
    ]  # fmt: skip
    scores = {i["method"]: i["scores"] for i in found["images"] if i["sample"] == samples[0]["id"]}
    assert scores["theirs"] == scores["ceiling"], "the same pixels, the same numbers"
    protocol = json.loads((at_tiny.folder / "results.json").read_text("utf-8"))["protocol"]
    assert found["protocol"] == protocol, "comparable with generated images"

    assert main(["compare", "score-theirs", str(at_tiny.folder) + ":paint", "--json"]) == 0
    assert {p["a"] for p in json.loads(capsys.readouterr().out)["pairs"]} == {"score-theirs:theirs"}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("stranger", "picture 'dog.png': found no sample of that id; expected one of the"),
        ("empty", "found no PNG of a sample that is judged; expected files named SAMPLE_ID.png. Name them"),
        ("label", "label of a row: found 'ceiling'; expected a name without : and /, other than ceiling, floor-blank."),
    ],
)  # fmt: skip
def test_folders_that_cannot_be_scored(spoil, said, at_tiny, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(tmp_path / "runs"))
    samples = json.loads((at_tiny.folder / "results.json").read_text("utf-8"))["samples"]
    folder = folder_of(samples if spoil != "empty" else [], at_tiny.folder, tmp_path / "theirs")
    if spoil == "stranger":
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "dog.png")
    label = ["--label", "ceiling"] if spoil == "label" else []
    assert main(["score", str(folder), "--limit", "3", *label]) == 3
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def placed(number: int, first: str, second: str) -> dict[str, Any]:
    return {
        "id": number, "image_id": number,
        "obj1": [first, [0.1, 0.2, 0.3, 0.4]], "obj2": [second, [0.5, 0.25, 0.4, 0.5]],
        "relation": "left", "type": "template", "prompt": f"a {first} to the left of a {second}",
    }  # fmt: skip


def test_a_suite_is_built_narrowed_and_run(paint, places, capsys) -> None:
    source = places / "source"
    source.mkdir()
    records = [
        placed(1, "dog", "kite"),
        placed(2, "cat", "clock"),
        placed(3, "bird", "pizza"),
        placed(4, "tent", "dog"),
    ]
    (source / "spatial.val.json").write_text(json.dumps(records), "utf-8")
    assert main(["suites", "build", "nsr1k", "--source", str(source)]) == 0
    shown = capsys.readouterr().out
    assert "records: 4" in shown
    assert "4 samples, sha256 " in shown

    line = ["run", "nsr1k", "--limit", "1", "--methods", "paint", "--methods-path", str(paint), "--name", "real"]
    assert main(line) == 0
    shown = " ".join(capsys.readouterr().out.split())
    left_out = "2 of 4 samples use categories outside the stack's vocabulary of 12: left out"
    assert left_out in shown
    found = json.loads((places / "runs" / "real" / "results.json").read_text("utf-8"))
    assert any(n.startswith(left_out) and "kite 1" in n and "tent 1" in n for n in found["suite"]["notes"])
    assert any(n.startswith("first 1 of 2 samples") for n in found["suite"]["notes"])
    assert [s["id"] for s in found["samples"]] == ["nsr1k-spatial-2"]
    assert [m["name"] for m in found["methods"]] == ["paint", "floor-blank"], "no true images: no ceiling"
    (fidelity,) = [r for r in found["rows"] if (r["method"], r["metric"]) == ("paint", "clip_i")]
    assert (fidelity["value"], fidelity["n"], fidelity["of"]) == (None, 0, 1)
    assert "no reference" in str(fidelity["unscored"])


def test_doctor_finds_the_miniature_world_in_order(places, capsys) -> None:
    code = main(["doctor", "--json"])
    checks = json.loads(capsys.readouterr().out)
    assert [c for c in checks if not c["ok"]] == []
    assert code == 0
    assert len(checks) >= 9


def test_doctor_finds_a_broken_class_table(places, capsys) -> None:
    broken = places / "guests" / "stacks" / "mini-broken"
    shutil.copytree(STACKS / "mini", broken, ignore=shutil.ignore_patterns("clip", "dino", "README.md"))
    card = (broken / "stack.toml").read_text("utf-8")
    (broken / "stack.toml").write_text(card.replace('name = "mini"', 'name = "mini-broken"'), "utf-8")
    table = broken / "detector" / "names.json"
    table.write_text(table.read_text("utf-8").replace('"cat","chair"', '"chair","cat"'), "utf-8")
    line = ["doctor", "--stack", "mini-broken", "--methods-path", str(places / "guests")]
    assert main([*line, "--json"]) == 1
    checks = {c["name"]: c for c in json.loads(capsys.readouterr().out)}
    assert not checks["class table"]["ok"]
    assert checks["perfect boxes score 1"]["ok"], "one broken check stops nobody else"
    assert main(line) == 1
    shown = capsys.readouterr().out
    assert "WRONG  class table: " in shown
    assert f"of {len(checks)} checks are ok" in shown


def test_tables_are_folded_on_terminals_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row of a log or a pipe is a line, however long; COLUMNS says otherwise."""
    long = "words " * 50
    monkeypatch.delenv("COLUMNS", raising=False)
    print_rows(("name", "text"), [("a", long)])
    assert long.strip() in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "40")
    print_rows(("name", "text"), [("a", long)])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 40
