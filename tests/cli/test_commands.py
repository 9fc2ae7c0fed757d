"""Commands in use: lists, external images, suites built from files, the doctor."""

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
from layoutmark.generate.external import read_images
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample

STACKS = Path(layoutmark.__file__).parent / "stacks"


@pytest.mark.parametrize("kind", ["methods", "suites", "stacks", "reports"])
def test_lists_are_available_as_json(kind, working_folder, capsys) -> None:
    assert main([kind, "list", "--json"]) == 0
    listing = json.loads(capsys.readouterr().out)
    names = [item["name"] for item in listing[kind]]
    assert names
    assert listing["broken"] == []
    assert main([kind, "show", names[0], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["title"]
    assert main([kind]) == 0
    output = capsys.readouterr().out
    assert [name for name in names if name not in output] == []


def test_idle_threads_sleep_unless_the_user_decides_otherwise(working_folder, monkeypatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert main(["stacks"]) == 0
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert main(["stacks"]) == 0
    assert os.environ.pop("OMP_WAIT_POLICY") == "PASSIVE"
    assert main(["train", "nothing-of-this-name"]) == 3
    assert "OMP_WAIT_POLICY" not in os.environ, "training is faster with spinning threads"


def test_a_table_breaks_lines_between_words(working_folder, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["methods", "list"]) == 0
    output = capsys.readouterr().out
    assert [
        word
        for word in ("InstanceDiffusion", "Layout-and-Retouch,", "LocRef-Diffusion", "references")
        if word not in output
    ] == []
    assert max(map(len, output.splitlines())) <= 80


def test_a_users_method_is_listed_and_shown(paint, working_folder, capsys) -> None:
    assert main(["methods", "show", "paint", "--methods-path", str(paint)]) == 0
    assert "Fills every box" in capsys.readouterr().out


def test_measure_and_report_alone(active_tiny_run, tmp_path, capsys, monkeypatch) -> None:
    shutil.copytree(active_tiny_run.runs, tmp_path / "runs")
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(tmp_path / "runs"))
    (tmp_path / "runs" / "tiny" / "report" / "index.html").unlink()
    assert main(["report", "tiny"]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page == tmp_path / "runs" / "tiny" / "report" / "index.html"
    assert page.read_bytes() == (active_tiny_run.folder / "report" / "index.html").read_bytes()


def write_true_images(samples: list[dict[str, Any]], run: Path, folder: Path) -> Path:
    """A folder with the true images of a run, as external images."""
    folder.mkdir()
    for sample in samples:
        shutil.copy(run / sample["true_image"], folder / f"{sample['id']}.png")
    return folder


def test_formats_of_external_images(tmp_path) -> None:
    """Grey and opaque images are read as they look; 16 bits and transparency are refused by name."""
    ids = [f"s{k}" for k in range(5)]
    samples = [Sample(i, "a cat", Layout(Canvas(8, 8), (Instance("0", "a cat", "cat", Box(0, 0, 1, 1)),))) for i in ids]
    suite = SimpleNamespace(samples=samples, name="made")
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    rgba = np.dstack([grey, grey, grey, np.full((8, 8), 255, np.uint8)])
    Image.fromarray(grey).save(tmp_path / "s0.png")
    Image.fromarray(rgba).save(tmp_path / "s1.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "s2.png")
    rgba[0, 0, 3] = 254
    Image.fromarray(rgba).save(tmp_path / "s3.png")
    Image.fromarray(grey).save(tmp_path / "s4.png", transparency=5)
    images = read_images(tmp_path, suite, suite)
    for name in ("s0", "s1"):
        np.testing.assert_array_equal(images[name], np.dstack([grey] * 3))
    assert [images[name] for name in ("s2", "s3", "s4")] == [
        "a PNG of 16 bits a channel, not of 8", "a PNG with transparent pixels", "a PNG with transparent pixels",
    ]  # fmt: skip


def test_external_images(active_tiny_run, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(tmp_path / "runs"))
    samples = json.loads((active_tiny_run.folder / "results.json").read_text("utf-8"))["samples"]
    folder = write_true_images(samples, active_tiny_run.folder, tmp_path / "theirs")
    (folder / f"{samples[1]['id']}.png").write_bytes(b"not an image")
    (folder / f"{samples[2]['id']}.png").unlink()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "mini-0100.png")  # beyond the limit

    assert main(["score", str(folder), "--limit", "3", "--json"]) == 0
    rows = {(r["method"], r["metric"]): r for r in json.loads(capsys.readouterr().out)}
    external, ceiling = rows["theirs", "clip_iqa"], rows["ceiling", "clip_iqa"]
    assert (external["n"], external["of"], external["unscored"]) == (1, 3, {"failed": 1, "missing": 1})
    assert (ceiling["n"], ceiling["of"]) == (3, 3)
    results = json.loads((tmp_path / "runs" / "score-theirs" / "results.json").read_text("utf-8"))
    assert [(i["status"], i["reason"]) for i in results["images"] if i["method"] == "theirs"] == [
        ("ok", ""), ("failed", "unreadable file: not an image"), ("missing", "not in the store")
    ]  # fmt: skip
    scores = {i["method"]: i["scores"] for i in results["images"] if i["sample"] == samples[0]["id"]}
    assert scores["theirs"] == scores["ceiling"], "the same pixels, the same numbers"
    protocol = json.loads((active_tiny_run.folder / "results.json").read_text("utf-8"))["protocol"]
    assert results["protocol"] == protocol, "comparable with generated images"

    assert main(["compare", "score-theirs", str(active_tiny_run.folder) + ":paint", "--json"]) == 0
    assert {p["a"] for p in json.loads(capsys.readouterr().out)["pairs"]} == {"score-theirs:theirs"}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("unknown sample", "image 'dog.png': found no sample with that id; expected one of the"),
        ("empty", "found no PNG of a sample to be scored; expected files named SAMPLE_ID.png. Name the files"),
        ("label", "label of a row: found 'ceiling'; expected a name without : and /, other than ceiling, floor-blank."),
    ],
)  # fmt: skip
def test_folders_that_cannot_be_scored(fault, message, active_tiny_run, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("LAYOUTMARK_RUNS", str(tmp_path / "runs"))
    samples = json.loads((active_tiny_run.folder / "results.json").read_text("utf-8"))["samples"]
    folder = write_true_images(samples if fault != "empty" else [], active_tiny_run.folder, tmp_path / "theirs")
    if fault == "unknown sample":
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "dog.png")
    label = ["--label", "ceiling"] if fault == "label" else []
    assert main(["score", str(folder), "--limit", "3", *label]) == 3
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def spatial_record(number: int, first: str, second: str) -> dict[str, Any]:
    return {
        "id": number, "image_id": number,
        "obj1": [first, [0.1, 0.2, 0.3, 0.4]], "obj2": [second, [0.5, 0.25, 0.4, 0.5]],
        "relation": "left", "type": "template", "prompt": f"a {first} to the left of a {second}",
    }  # fmt: skip


def test_a_suite_is_built_restricted_and_run(paint, working_folder, capsys) -> None:
    source = working_folder / "source"
    source.mkdir()
    records = [
        spatial_record(1, "dog", "kite"),
        spatial_record(2, "cat", "clock"),
        spatial_record(3, "bird", "pizza"),
        spatial_record(4, "tent", "dog"),
    ]
    (source / "spatial.val.json").write_text(json.dumps(records), "utf-8")
    assert main(["suites", "build", "nsr1k", "--source", str(source)]) == 0
    output = capsys.readouterr().out
    assert "records: 4" in output
    assert "4 samples, sha256 " in output

    command = ["run", "nsr1k", "--limit", "1", "--methods", "paint", "--methods-path", str(paint), "--name", "real"]
    assert main(command) == 0
    output = " ".join(capsys.readouterr().out.split())
    left_out = "2 of 4 samples use categories outside the stack's vocabulary of 12: left out"
    assert left_out in output
    results = json.loads((working_folder / "runs" / "real" / "results.json").read_text("utf-8"))
    assert any(n.startswith(left_out) and "kite 1" in n and "tent 1" in n for n in results["suite"]["notes"])
    assert any(n.startswith("first 1 of 2 samples") for n in results["suite"]["notes"])
    assert [s["id"] for s in results["samples"]] == ["nsr1k-spatial-2"]
    assert [m["name"] for m in results["methods"]] == ["paint", "floor-blank"], (
        "without true images there is no ceiling"
    )
    (fidelity,) = [r for r in results["rows"] if (r["method"], r["metric"]) == ("paint", "clip_i")]
    assert (fidelity["value"], fidelity["n"], fidelity["of"]) == (None, 0, 1)
    assert "no reference" in str(fidelity["unscored"])


def test_doctor_finds_no_fault_in_the_miniature_world(working_folder, capsys) -> None:
    code = main(["doctor", "--json"])
    checks = json.loads(capsys.readouterr().out)
    assert [c for c in checks if not c["ok"]] == []
    assert code == 0
    assert len(checks) >= 9


def test_doctor_finds_a_broken_class_table(working_folder, capsys) -> None:
    broken = working_folder / "plugins" / "stacks" / "mini-broken"
    shutil.copytree(STACKS / "mini", broken, ignore=shutil.ignore_patterns("clip", "dino", "README.md"))
    card = (broken / "stack.toml").read_text("utf-8")
    (broken / "stack.toml").write_text(card.replace('name = "mini"', 'name = "mini-broken"'), "utf-8")
    table = broken / "detector" / "names.json"
    table.write_text(table.read_text("utf-8").replace('"cat","chair"', '"chair","cat"'), "utf-8")
    command = ["doctor", "--stack", "mini-broken", "--methods-path", str(working_folder / "plugins")]
    assert main([*command, "--json"]) == 1
    checks = {c["name"]: c for c in json.loads(capsys.readouterr().out)}
    assert not checks["class table"]["ok"]
    assert checks["perfect boxes score 1"]["ok"], "one broken check does not stop the others"
    assert main(command) == 1
    output = capsys.readouterr().out
    assert "WRONG  class table: " in output
    assert f"of {len(checks)} checks are ok" in output


def test_tables_are_folded_on_terminals_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a log or a pipe a row is one line, however long, unless COLUMNS is set."""
    long_text = "words " * 50
    monkeypatch.delenv("COLUMNS", raising=False)
    print_rows(("name", "text"), [("a", long_text)])
    assert long_text.strip() in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "40")
    print_rows(("name", "text"), [("a", long_text)])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 40
