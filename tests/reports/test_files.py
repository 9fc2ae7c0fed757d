"""Reports that are files for other programs: COCO, CSV and Parquet, contact sheets, figures."""

import contextlib
import csv
import io
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from layoutmark.errors import LayoutmarkError
from layoutmark.report import write_report


@pytest.fixture(scope="module")
def run(example: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Hostile results with images, and the run folder."""
    folder = tmp_path_factory.mktemp("files")
    results: dict[str, Any] = example.make_results(folder)
    for sample in results["samples"]:
        sample["prompt"] = sample["prompt"].encode("utf-8", "replace").decode()
    return results, folder


def test_every_score_has_a_line_and_missing_ones_a_reason(run: Any, tmp_path: Path) -> None:
    results, folder = run
    path = write_report(results, folder, "csv", out=tmp_path)
    lines = list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))
    assert len(lines) == sum(len(i["scores"]) for i in results["images"])
    assert all((line["value"] == "") == (line["unscored"] != "") for line in lines)
    assert pq.read_table(tmp_path / "scores.parquet").num_rows == len(lines)
    targets = pq.read_table(tmp_path / "targets.parquet").to_pylist()
    assert len(targets) == sum(len(s) for i in results["images"] for s in i["instances"].values())
    assert {t["unscored"] for t in targets if t["metric"] == "dino"} == {"not detected"}


def test_perfect_detections_score_one_with_pycocotools(run: Any, tmp_path: Path) -> None:
    results, _ = run
    corners = ("x0", "y0", "x1", "y1")
    rows = [
        {
            "method": m["name"], "sample": s["id"], "seed": 0, "score": 0.9, "label": i["category"],
            **dict(zip(corners, i["box"], strict=True)),
        }
        for m in results["methods"] for s in results["samples"] for i in s["instances"]
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "detections.parquet")
    path = write_report(results, tmp_path, "coco", out=tmp_path / "coco")
    files = sorted((tmp_path / "coco" / "detections").iterdir())
    assert len(files) == len(results["methods"])
    assert any(f.name.startswith("a%2Fb%2F%3C") for f in files)
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        evaluation = COCOeval(truth, truth.loadRes(str(files[0])), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_a_run_without_detections_is_refused_with_the_next_step(run: Any, tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError, match=r"found no detections\.parquet; .* layoutmark measure"):
        write_report(run[0], tmp_path, "coco", out=tmp_path / "coco")


def test_sheets_count_missing_images(run: Any, tmp_path: Path) -> None:
    results, folder = run
    text = write_report(results, folder, "contact_sheets", out=tmp_path).read_text("utf-8")
    assert "ilgd.seed0.png: 12 of 12 samples, 1 images missing" in text
    assert len(list(tmp_path.glob("*.png"))) == len(results["methods"])
    with Image.open(tmp_path / "ilgd.seed0.png") as sheet:
        assert sheet.size == (8 * 166 + 6, 2 * 166 + 6)


def test_equal_results_give_equal_figures(run: Any, tmp_path: Path) -> None:
    results, folder = run
    for name in ("a", "b"):
        captions = write_report(results, folder, "figures", out=tmp_path / name).read_text("utf-8")
    assert captions.count("\n") == 3
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert len(files) == 10
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_coco_ids_start_at_one(run: Any, tmp_path: Path) -> None:
    results, _ = run
    columns = {"method": pa.string(), "sample": pa.string(), "seed": pa.int64()}
    empty = pa.table({name: pa.array([], kind) for name, kind in columns.items()})
    pq.write_table(empty, tmp_path / "detections.parquet")
    truth = json.loads(write_report(results, tmp_path, "coco", out=tmp_path / "coco").read_text())
    for key in ("images", "categories", "annotations"):
        assert [x["id"] for x in truth[key]] == list(range(1, len(truth[key]) + 1))
