"""Results of a run: reproducible to the byte, nothing computed twice, nothing dropped."""

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
from layoutmark.cost import hardware_name
from layoutmark.features.scorers import Scorers
from layoutmark.generate import batches
from layoutmark.metrics import HEADLINE_METRICS
from layoutmark.plan.jobs import list_jobs
from layoutmark.plan.plan import find_row, read_plan
from layoutmark.registry import Registry
from layoutmark.store import Store
from layoutmark.suites.opening import open_suite

BASE_INSTALL = Path(__file__).resolve().parents[1] / "house" / "base_install.py"
RUN = ["run", "mini", "--limit", "3", "--methods", "paint,paint@blind", "--name", "tiny", "--methods-path"]


def read_results(folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((folder / "results.json").read_text("utf-8"))
    return results


def without_times(folder: Path) -> bytes:
    """Return the bytes of results.json without its key `times`; keys are sorted, so it is the last one."""
    head, _, tail = (folder / "results.json").read_bytes().rpartition(b'\n "times":')
    assert head, "there are times"
    assert b'"rows"' not in tail
    return head


@pytest.fixture
def run_copy(tiny, working_folder, monkeypatch) -> Path:
    """Copy the tiny run and its store, so that a test may change them."""
    shutil.copytree(tiny.home, working_folder / "home")
    shutil.copytree(tiny.runs, working_folder / "runs")
    return working_folder / "runs" / "tiny"


def forbid_models(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_if_loaded(self: Scorers, role: str) -> None:
        raise AssertionError(f"a model was loaded: {role}")

    monkeypatch.setattr(Scorers, "_load", fail_if_loaded)


def test_the_same_command_gives_the_same_bytes_and_computes_nothing_twice(tiny, run_copy, monkeypatch) -> None:
    (run_copy / "results.json").unlink()
    forbid_models(monkeypatch)
    monkeypatch.setenv("PAINT_STOP_AFTER", "0")
    assert main([*RUN, str(tiny.methods)]) == 0
    assert without_times(run_copy) == without_times(tiny.folder)
    assert (run_copy / "results.csv").read_bytes() == (tiny.folder / "results.csv").read_bytes()
    assert (run_copy / "detections.parquet").read_bytes() == (tiny.folder / "detections.parquet").read_bytes()


def test_the_device_of_each_image_is_recorded(tiny) -> None:
    results = read_results(tiny.folder)
    images = {m["name"]: m["counts"]["requested"] for m in results["methods"] if m["kind"] == "method"}
    devices = results["times"]["drawn_on"]
    assert set(devices) <= set(images)
    assert devices["paint"] == {hardware_name("cpu"): images["paint"]}


def test_only_a_deleted_feature_is_computed_again(tiny, run_copy, working_folder, capsys, monkeypatch) -> None:
    """The counts are in the table and under `times`; a deleted feature is the only one computed again."""
    before, requested_keys, read_features = read_results(run_copy), [], Store.features
    monkeypatch.setattr(
        Store, "features", lambda self, keys: (requested_keys.extend(keys), read_features(self, keys))[1]
    )
    assert main(["measure", "tiny"]) == 0
    stored = read_results(run_copy)["times"]["features"]["stored"]
    assert stored > 10
    assert f"features: {stored} from the store, 0 computed" in capsys.readouterr().out
    with sqlite3.connect(working_folder / "home" / "store.sqlite") as store:
        # The store has features of other runs too.
        store.execute("DELETE FROM features WHERE key = ?", (min(requested_keys),))
    assert main(["measure", "tiny"]) == 0
    assert read_results(run_copy)["times"]["features"] == {"stored": stored - 1, "computed": 1}
    assert {k: v for k, v in read_results(run_copy).items() if k != "times"} == {
        k: v for k, v in before.items() if k != "times"
    }


def test_masks_are_scored_and_their_source_is_named(tiny) -> None:
    results = read_results(tiny.folder)
    rows = {(r["method"], r["metric"]): r for r in results["rows"]}
    for metric in ("mask_miou", "mask_ap50", "point_in_mask", "scribble_in_mask"):
        true, blank = rows["ceiling", metric], rows["floor-blank", metric]
        assert true["value"] > 0.85
        assert true["n"] == blank["n"] == 3
        assert blank["value"] < 0.1
        assert "masks of detections of conf>=0.25 by mini-segmenter 1 (U-Net" in true["variant"]
    assert rows["ceiling", "mask_miou"]["value"] != rows["ceiling", "miou"]["value"]
    assert results["protocol"]["parts"]["stack"]["names"]["masks"] in rows["ceiling", "mask_miou"]["variant"]


def test_a_changed_image_needs_the_models(run_copy, monkeypatch, capsys) -> None:
    store = Store(Path(os.environ["LAYOUTMARK_HOME"]))
    key, record, image = second_image(run_copy, store)
    store.put_image(key, 255 - image, record)
    forbid_models(monkeypatch)
    assert main(["measure", "tiny"]) == 70
    assert "AssertionError: a model was loaded: detector" in capsys.readouterr().err


def test_an_interrupted_run_resumes_to_the_same_results(tiny, working_folder, monkeypatch, capsys) -> None:
    from layoutmark.methods.paint import adapter

    monkeypatch.setattr(batches, "BATCH_SIZE", 2)
    monkeypatch.setattr(adapter, "drawn", 0)
    monkeypatch.setenv("PAINT_STOP_AFTER", "2")
    assert main([*RUN, str(tiny.methods)]) == 130
    assert "Run the same command to resume" in capsys.readouterr().err
    assert not (working_folder / "runs" / "tiny" / "results.json").exists()
    monkeypatch.setattr(adapter, "drawn", 0)
    monkeypatch.setenv("PAINT_STOP_AFTER", "4")  # one left of the first row, three of the second
    assert main([*RUN, str(tiny.methods)]) == 0
    assert without_times(working_folder / "runs" / "tiny") == without_times(tiny.folder)


def test_stored_features_need_no_torch(tiny, run_copy) -> None:
    (run_copy / "results.json").unlink()
    commands = json.dumps([["measure", "tiny", "--json"], ["compare", "tiny", "--json"]])
    env = {**os.environ, "PYTHONPATH": str(BASE_INSTALL.parents[2] / "bench")}
    process = subprocess.run(
        [sys.executable, str(BASE_INSTALL), commands], env=env, capture_output=True, text=True, check=True
    )
    answer = json.loads(process.stdout.splitlines()[-1])
    assert answer["loaded"] == []
    assert [c["code"] for c in answer["commands"]] == [0, 0], answer
    before, after = read_results(tiny.folder), read_results(run_copy)
    # Versions of hidden packages are still found in their metadata, so even the environment must be equal.
    assert {k: v for k, v in after.items() if k != "times"} == {k: v for k, v in before.items() if k != "times"}
    assert json.loads(answer["commands"][0]["out"]) == before["rows"]


def second_image(folder: Path, store: Store) -> tuple[str, dict[str, Any], Any]:
    plan, registry = read_plan(folder), Registry()
    suite = open_suite(registry, plan.suite, registry.get_stack(plan.stack), plan.limit)
    job = list_jobs(plan, suite, find_row(plan, "paint"))[1]
    record, image = store.record(job.key), store.image(job.key)
    assert record is not None
    assert image is not None
    return job.key, record, image


def test_a_deleted_image_is_counted_as_missing(tiny, run_copy) -> None:
    store = Store(Path(os.environ["LAYOUTMARK_HOME"]))
    key, *_ = second_image(run_copy, store)
    store.image_path(key).unlink()
    assert main(["measure", "tiny"]) == 0
    before, after = read_results(tiny.folder), read_results(run_copy)
    counts = {m["name"]: m["counts"] for m in after["methods"]}
    assert counts["paint"] == {
        "requested": 3, "ok": 2, "missing": 1, "degenerate": 0, "failed": 0, "filtered": 0, "not_applicable": 0
    }  # fmt: skip
    assert counts["paint@blind"] == {m["name"]: m["counts"] for m in before["methods"]}["paint@blind"]
    assert next(m["reasons"] for m in after["methods"] if m["name"] == "paint") == {"not in the store": 1}
    for row in after["rows"]:
        if row["method"] == "paint":
            # Some metrics ask for more than pixels (two identities, an overlap); headline metrics do not.
            assert row["n"] in ((0, 2) if row["metric"] in HEADLINE_METRICS else (0, 1, 2)), row
            assert row["of"] == 3
            assert row["unscored"]["missing"] == 1
    missing_images = [i for i in after["images"] if i["status"] == "missing"]
    assert [(i["method"], i["image"], i["detections"]) for i in missing_images] == [("paint", None, [])]
    assert set(map(str, missing_images[0]["scores"].values())) == {str({"unscored": "missing"})}
    assert {p["n"] for p in after["pairs"]} == {2}


def test_a_failed_image_is_counted_and_reported(tiny, working_folder, capsys) -> None:
    prompt = read_results(tiny.folder)["samples"][1]["prompt"]
    line = ["run", "mini", "--limit", "2", "--methods", "paint", "--set", "fault=raises", "--set", f"prompt={prompt}"]
    assert main([*line, "--name", "torn", "--methods-path", str(tiny.methods)]) == 0
    output = capsys.readouterr().out
    assert main(["measure", "torn", "--fail-above", "0.5"]) == 0
    assert main(["measure", "torn", "--fail-above", "0.4"]) == 1
    assert "paint lost 1 of 2 images" in capsys.readouterr().err
    assert re.search(r"paint: 1 ok.* 1 failed", output), output
    results = read_results(working_folder / "runs" / "torn")
    assert [(i["status"], i["image"] is None) for i in results["images"] if i["method"] == "paint"] == [
        ("ok", False), ("failed", True)
    ]  # fmt: skip
    (row,) = [r for r in results["rows"] if (r["method"], r["metric"]) == ("paint", "ap50")]
    assert (row["n"], row["of"], row["unscored"]) == (1, 2, {"failed": 1})
    assert "no paint left" in (working_folder / "runs" / "torn" / "report" / "index.html").read_text("utf-8")


def test_rows_follow_the_schema(tiny) -> None:
    results = read_results(tiny.folder)
    assert results["schema"] == "layoutmark-results-1"
    assert re.fullmatch(r"[0-9a-f]{16}", results["protocol"]["hash"])
    rows = {(r["method"], r["metric"]): r for r in results["rows"]}
    assert len(rows) == len(results["rows"])
    assert {m["name"]: m["kind"] for m in results["methods"]} == {
        "paint": "method", "paint@blind": "method", "ceiling": "reference", "floor-blank": "reference"
    }  # fmt: skip
    metrics = {m["name"]: m for m in results["metrics"]}
    assert tuple(metrics)[: len(HEADLINE_METRICS)] == HEADLINE_METRICS
    assert set(rows) == {(m["name"], k) for m in results["methods"] for k in metrics}
    for row in results["rows"]:
        metric = metrics[row["metric"]]
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


def test_the_csv_agrees_with_the_results(tiny) -> None:
    with (tiny.folder / "results.csv").open(encoding="utf-8", newline="") as file:
        csv_rows = list(csv.DictReader(file))
    rows = read_results(tiny.folder)["rows"]
    assert [(t["method"], t["metric"], t["value"]) for t in csv_rows] == [
        (r["method"], r["metric"], "" if r["value"] is None else repr(r["value"])) for r in rows
    ]


def test_every_image_file_exists_and_counts_agree(tiny) -> None:
    results = read_results(tiny.folder)
    assert len(results["images"]) == len(results["methods"]) * 3
    for image in results["images"]:
        assert (tiny.folder / image["image"]).is_file()
    for sample in results["samples"]:
        assert (tiny.folder / sample["true_image"]).is_file()
    for method in results["methods"]:
        statuses = [i["status"] for i in results["images"] if i["method"] == method["name"]]
        assert {k: v for k, v in method["counts"].items() if v and k != "requested"} == {
            s: statuses.count(s) for s in statuses
        }


def test_means_are_means_of_the_images(tiny) -> None:
    results = read_results(tiny.folder)
    for row in results["rows"]:
        if row["metric"] in ("miou", "clip_i", "clip_t", "clip_iqa", "dino_detected"):
            scores = [i["scores"][row["metric"]] for i in results["images"] if i["method"] == row["method"]]
            numbers = [s for s in scores if isinstance(s, float)]
            assert len(numbers) == row["n"]
            if numbers:
                assert row["value"] == pytest.approx(sum(numbers) / len(numbers), abs=1e-12)
