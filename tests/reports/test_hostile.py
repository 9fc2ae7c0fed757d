"""Every kind of report on results full of hostile texts, on results without image files, and in other processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from layoutmark.registry import Registry
from layoutmark.report import write_report

TRACKERS = ("mlflow", "wandb")
KINDS = sorted(name for name in Registry().reports() if name not in TRACKERS)
"""Tested with the same results in test_exports.py, because they need extra packages."""
LONG = "long prompt " * 900


def write_detections(results: dict[str, Any], run: Path) -> None:
    rows = [
        {"method": image["method"], "sample": image["sample"], "seed": image["seed"], "x0": d[0], "y0": d[1],
         "x1": d[2], "y1": d[3], "score": d[4], "label": d[5]}
        for image in results["images"] for d in image["detections"]
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), run / "detections.parquet")


@pytest.fixture(scope="module")
def hostile_run(example: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Slashes, markup, right-to-left text, emoji and 10 kB in names, prompts and reasons; with images."""
    run = tmp_path_factory.mktemp("hostile-kinds") / "run"
    run.mkdir()
    results = example.make_results(run, samples=8)
    prompts = [s["prompt"] for s in results["samples"]]
    assert {example.RTL, example.EMOJI, LONG} <= set(prompts)
    assert any("/" in m["name"] for m in results["methods"])
    assert any("/" in s["id"] for s in results["samples"])
    write_detections(results, run)
    return results, run


def test_every_kind_is_tested() -> None:
    assert {*KINDS, *TRACKERS} == set(Registry().reports())
    assert len(KINDS) >= 8


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_texts_stay_inside(kind: str, hostile_run: Any, tmp_path: Path) -> None:
    """A report is written, nothing is written outside its folder, and all its texts are UTF-8."""
    results, run = hostile_run
    before = sorted(p.relative_to(run) for p in run.rglob("*"))
    out = tmp_path / "around" / "out"
    path = write_report(results, run, kind, out=out)
    assert path.is_relative_to(out)
    assert [p for p in tmp_path.rglob("*") if not p.is_relative_to(tmp_path / "around" / "out")] == [
        tmp_path / "around"
    ]
    assert sorted(p.relative_to(run) for p in run.rglob("*")) == before
    for file in out.rglob("*"):
        if file.suffix in (".html", ".md", ".tex", ".csv", ".json", ".txt", ".svg"):
            file.read_text("utf-8")
        if file.suffix == ".json":
            json.loads(file.read_text("utf-8"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_report_survives_missing_images(kind: str, example: ModuleType, tmp_path: Path) -> None:
    results = example.make_results(None, samples=3)
    write_detections(results, tmp_path)
    out = tmp_path / "out"
    path = write_report(results, tmp_path, kind, out=out)
    if kind == "contact_sheets":
        missing_counts = [
            int(line.split(", ")[1].split()[0]) for line in path.read_text("utf-8").splitlines() if "missing" in line
        ]
        assert missing_counts == [3] * len(results["methods"])
    if kind == "fiftyone":
        fields = json.loads((out / "fields.json").read_text("utf-8"))
        assert len(fields["without_image"]) == len(results["images"])
        assert sum(i["reason"] == "the image file is missing" for i in fields["without_image"]) > 0
    if kind == "html":
        files = {i["image"] for i in results["images"] if i["image"]}
        assert f"{len(files)} image files could not be read" in path.read_text("utf-8")


@pytest.mark.parametrize("kind", ["html", "figures", "markdown", "latex", "csv", "contact_sheets", "coco"])
def test_other_processes_write_the_same_bytes(kind: str, hostile_run: Any, tmp_path: Path) -> None:
    """The order of sets of texts depends on PYTHONHASHSEED, which must not affect the files."""
    results, run = hostile_run
    (tmp_path / "results.json").write_text(json.dumps(results), "utf-8")
    code = (
        "import json, sys; from pathlib import Path; from layoutmark.report import write_report\n"
        "source, run, kind, out = sys.argv[1:]\n"
        "write_report(json.loads(Path(source).read_text('utf-8')), Path(run), kind, out=Path(out))"
    )
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "results.json"), str(run), kind, str(tmp_path / seed)],
            check=True, env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
    names = [sorted(p.relative_to(tmp_path / seed) for p in (tmp_path / seed).rglob("*")) for seed in ("1", "2")]
    assert names[0] == names[1]
    files = [n for n in names[0] if (tmp_path / "1" / n).is_file()]
    assert files
    assert [n for n in files if (tmp_path / "1" / n).read_bytes() != (tmp_path / "2" / n).read_bytes()] == []
