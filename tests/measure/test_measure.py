"""A run's numbers: the same bytes again, nothing computed twice, nothing dropped."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from layoutmark.cli.main import main
from layoutmark.cost import hardware
from layoutmark.features.scorers import Scorers
from layoutmark.generate import generation as verb
from layoutmark.metrics import HEADLINE
from layoutmark.plan.jobs import jobs
from layoutmark.plan.plan import find_row, read_plan
from layoutmark.registry import Registry
from layoutmark.store import Store
from layoutmark.suites.opening import open_suite

BASE_INSTALL = Path(__file__).resolve().parents[1] / "house" / "base_install.py"
RUN = ["run", "mini", "--limit", "3", "--methods", "paint,paint@blind", "--name", "tiny", "--methods-path"]


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text("utf-8"))
    return found


def without_times(folder: Path) -> bytes:
    """The bytes of results.json but for its key `times`; keys are sorted, so it stands last."""
    head, _, tail = (folder / "results.json").read_bytes().rpartition(b'\n "times":')
    assert head, "there are times"
    assert b'"rows"' not in tail
    return head


@pytest.fixture
def copy(tiny, places, monkeypatch) -> Path:
    """A copy of the tiny run and its store, which a test may spoil."""
    shutil.copytree(tiny.home, places / "home")
    shutil.copytree(tiny.runs, places / "runs")
    return places / "runs" / "tiny"


def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def built(self: Scorers, role: str) -> None:
        raise AssertionError(f"a model was built: {role}")

    monkeypatch.setattr(Scorers, "_load", built)


def test_the_same_command_gives_the_same_bytes_and_looks_at_nothing_twice(tiny, copy, monkeypatch) -> None:
    (copy / "results.json").unlink()
    no_models(monkeypatch)
    monkeypatch.setenv("PAINT_STOP_AFTER", "0")
    assert main([*RUN, str(tiny.methods)]) == 0
    assert without_times(copy) == without_times(tiny.folder)
    assert (copy / "results.csv").read_bytes() == (tiny.folder / "results.csv").read_bytes()
    assert (copy / "detections.parquet").read_bytes() == (tiny.folder / "detections.parquet").read_bytes()


def test_what_drew_the_images_is_told(tiny) -> None:
    table = results(tiny.folder)
    images = {m["name"]: m["counts"]["requested"] for m in table["methods"] if m["kind"] == "method"}
    drawn = table["times"]["drawn_on"]
    assert set(drawn) <= set(images)
    assert drawn["paint"] == {hardware("cpu"): images["paint"]}


def test_only_the_feature_that_is_gone_is_computed_again(tiny, copy, places, capsys, monkeypatch) -> None:
    """The count stands in the table and among the times; a part file that is gone costs its own features alone."""
    before, asked, looked_up = results(copy), [], Store.features
    monkeypatch.setattr(Store, "features", lambda self, keys: (asked.extend(keys), looked_up(self, keys))[1])
    assert main(["measure", "tiny"]) == 0
    stored = results(copy)["times"]["features"]["stored"]
    assert stored > 10
    assert f"features: {stored} were stored, 0 computed now" in capsys.readouterr().out
    with sqlite3.connect(places / "home" / "store.sqlite") as store:
        store.execute("DELETE FROM features WHERE key = ?", (min(asked),))  # other runs' features lie there too
    assert main(["measure", "tiny"]) == 0
    assert results(copy)["times"]["features"] == {"stored": stored - 1, "computed": 1}
    assert {k: v for k, v in results(copy).items() if k != "times"} == {k: v for k, v in before.items() if k != "times"}


def test_masks_are_scored_and_their_names_say_where_they_come_from(tiny) -> None:
    found = results(tiny.folder)
    rows = {(r["method"], r["metric"]): r for r in found["rows"]}
    for metric in ("mask_miou", "mask_ap50", "point_in_mask", "scribble_in_mask"):
        true, blank = rows["ceiling", metric], rows["floor-blank", metric]
        assert true["value"] > 0.85
        assert true["n"] == blank["n"] == 3
        assert blank["value"] < 0.1
        assert "masks of detections of conf>=0.25 by mini-segmenter 1 (U-Net" in true["variant"]
    assert rows["ceiling", "mask_miou"]["value"] != rows["ceiling", "miou"]["value"]
    assert found["protocol"]["parts"]["stack"]["names"]["masks"] in rows["ceiling", "mask_miou"]["variant"]


def test_a_changed_picture_needs_the_models(copy, monkeypatch) -> None:
    store = Store(Path(os.environ["LAYOUTMARK_HOME"]))
    key, record, image = picture(copy, store)
    store.put_image(key, 255 - image, record)
    no_models(monkeypatch)
    with pytest.raises(AssertionError, match="a model was built"):
        main(["measure", "tiny"])


def test_an_interrupted_run_ends_like_an_unbroken_one(tiny, places, monkeypatch, capsys) -> None:
    from layoutmark.methods.paint import adapter

    monkeypatch.setattr(verb, "BATCH", 2)
    monkeypatch.setattr(adapter, "drawn", 0)
    monkeypatch.setenv("PAINT_STOP_AFTER", "2")
    assert main([*RUN, str(tiny.methods)]) == 130
    assert "goes on where it was" in capsys.readouterr().err
    assert not (places / "runs" / "tiny" / "results.json").exists()
    monkeypatch.setattr(adapter, "drawn", 0)
    monkeypatch.setenv("PAINT_STOP_AFTER", "4")  # one left of the first row, three of the second
    assert main([*RUN, str(tiny.methods)]) == 0
    assert without_times(places / "runs" / "tiny") == without_times(tiny.folder)


def test_it_needs_no_torch_where_features_are_stored(tiny, copy) -> None:
    (copy / "results.json").unlink()
    commands = json.dumps([["measure", "tiny", "--json"], ["compare", "tiny", "--json"]])
    env = {**os.environ, "PYTHONPATH": str(BASE_INSTALL.parents[2] / "bench")}
    done = subprocess.run(
        [sys.executable, str(BASE_INSTALL), commands], env=env, capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["loaded"] == []
    assert [c["code"] for c in said["commands"]] == [0, 0], said
    before, after = results(tiny.folder), results(copy)
    # Versions of packages that were taken away are still found by their metadata; rows must not know the difference.
    assert {k: v for k, v in after.items() if k != "times"} == {k: v for k, v in before.items() if k != "times"}
    assert json.loads(said["commands"][0]["out"]) == before["rows"]


def picture(folder: Path, store: Store) -> tuple[str, dict[str, Any], Any]:
    plan, registry = read_plan(folder), Registry()
    suite = open_suite(registry, plan.suite, registry.get_stack(plan.stack), plan.limit)
    job = jobs(plan, suite, find_row(plan, "paint"))[1]
    record, image = store.record(job.key), store.image(job.key)
    assert record is not None
    assert image is not None
    return job.key, record, image


def test_a_picture_that_is_gone_is_missing_and_counted(tiny, copy) -> None:
    store = Store(Path(os.environ["LAYOUTMARK_HOME"]))
    key, *_ = picture(copy, store)
    store.image_path(key).unlink()
    assert main(["measure", "tiny"]) == 0
    before, after = results(tiny.folder), results(copy)
    counts = {m["name"]: m["counts"] for m in after["methods"]}
    assert counts["paint"] == {
        "requested": 3, "ok": 2, "missing": 1, "degenerate": 0, "failed": 0, "filtered": 0, "not_applicable": 0
    }  # fmt: skip
    assert counts["paint@blind"] == {m["name"]: m["counts"] for m in before["methods"]}["paint@blind"]
    assert next(m["reasons"] for m in after["methods"] if m["name"] == "paint") == {"not in the store": 1}
    for row in after["rows"]:
        if row["method"] == "paint":
            # Some metrics ask for more than pixels (two identities, an overlap); headline metrics do not.
            assert row["n"] in ((0, 2) if row["metric"] in HEADLINE else (0, 1, 2)), row
            assert row["of"] == 3
            assert row["unscored"]["missing"] == 1
    gone = [i for i in after["images"] if i["status"] == "missing"]
    assert [(i["method"], i["image"], i["detections"]) for i in gone] == [("paint", None, [])]
    assert set(map(str, gone[0]["scores"].values())) == {str({"unscored": "missing"})}
    assert {p["n"] for p in after["pairs"]} == {2}


def test_a_failed_picture_is_a_row_of_the_table(tiny, places, capsys) -> None:
    prompt = results(tiny.folder)["samples"][1]["prompt"]
    line = ["run", "mini", "--limit", "2", "--methods", "paint", "--set", "fault=raises", "--set", f"prompt={prompt}"]
    assert main([*line, "--name", "torn", "--methods-path", str(tiny.methods)]) == 0
    shown = capsys.readouterr().out
    assert main(["measure", "torn", "--fail-above", "0.5"]) == 0
    assert main(["measure", "torn", "--fail-above", "0.4"]) == 1
    assert "paint lost 1 of 2 images" in capsys.readouterr().err
    assert re.search(r"paint: 1 ok.* 1 failed", shown), shown
    found = results(places / "runs" / "torn")
    assert [(i["status"], i["image"] is None) for i in found["images"] if i["method"] == "paint"] == [
        ("ok", False), ("failed", True)
    ]  # fmt: skip
    (row,) = [r for r in found["rows"] if (r["method"], r["metric"]) == ("paint", "ap50")]
    assert (row["n"], row["of"], row["unscored"]) == (1, 2, {"failed": 1})
    assert "no paint left" in (places / "runs" / "torn" / "report" / "index.html").read_text("utf-8")


def test_rows_keep_the_contract(tiny) -> None:
    found = results(tiny.folder)
    assert found["schema"] == "layoutmark-results-1"
    assert re.fullmatch(r"[0-9a-f]{16}", found["protocol"]["hash"])
    rows = {(r["method"], r["metric"]): r for r in found["rows"]}
    assert len(rows) == len(found["rows"])
    assert {m["name"]: m["kind"] for m in found["methods"]} == {
        "paint": "method", "paint@blind": "method", "ceiling": "reference", "floor-blank": "reference"
    }  # fmt: skip
    known = {m["name"]: m for m in found["metrics"]}
    assert tuple(known)[: len(HEADLINE)] == HEADLINE
    assert set(rows) == {(m["name"], k) for m in found["methods"] for k in known}
    for row in found["rows"]:
        metric = known[row["metric"]]
        assert [row[k] for k in ("variant", "unit", "higher_is_better")] == [
            metric[k] for k in ("variant", "unit", "higher_is_better")
        ]
        assert row["variant"].startswith(row["metric"] + "[")
        assert row["of"] == 3
        assert row["n"] + sum(row["unscored"].values()) == row["of"]
        assert (row["value"] is None) == (row["n"] == 0)
        if row["low"] is not None:
            assert metric["low"] <= row["low"] <= row["value"] <= row["high"] <= metric["high"]
            assert all(math.isfinite(row[k]) for k in ("value", "low", "high"))
        assert (row["normalised"] is None) == bool(row["not_normalised"])
    assert (rows["ceiling", "ap50"]["normalised"], rows["floor-blank", "ap50"]["normalised"]) == (1, 0)
    assert rows["ceiling", "ap50"]["value"] > 0.9 > rows["floor-blank", "ap50"]["value"]
    assert rows["ceiling", "clip_i"]["value"] == pytest.approx(1, abs=1e-5), "true crops against themselves"
    assert rows["floor-blank", "ap50"]["n"] == 3, "degenerate images are scored"


def test_the_table_of_a_run_says_the_same_as_its_results(tiny) -> None:
    with (tiny.folder / "results.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    rows = results(tiny.folder)["rows"]
    assert [(t["method"], t["metric"], t["value"]) for t in table] == [
        (r["method"], r["metric"], "" if r["value"] is None else repr(r["value"])) for r in rows
    ]


def test_every_picture_and_every_count_is_there(tiny) -> None:
    found = results(tiny.folder)
    assert len(found["images"]) == len(found["methods"]) * 3
    for image in found["images"]:
        assert (tiny.folder / image["image"]).is_file()
    for sample in found["samples"]:
        assert (tiny.folder / sample["true_image"]).is_file()
    for method in found["methods"]:
        statuses = [i["status"] for i in found["images"] if i["method"] == method["name"]]
        assert {k: v for k, v in method["counts"].items() if v and k != "requested"} == {
            s: statuses.count(s) for s in statuses
        }


def test_means_are_means_of_the_images(tiny) -> None:
    found = results(tiny.folder)
    for row in found["rows"]:
        if row["metric"] in ("miou", "clip_i", "clip_t", "clip_iqa", "dino_detected"):
            scores = [i["scores"][row["metric"]] for i in found["images"] if i["method"] == row["method"]]
            numbers = [s for s in scores if isinstance(s, float)]
            assert len(numbers) == row["n"]
            if numbers:
                assert row["value"] == pytest.approx(sum(numbers) / len(numbers), abs=1e-12)
