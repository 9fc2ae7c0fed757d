"""Exports to other tools: FiftyOne's documented format, and MLflow and Weights & Biases without a network."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from layoutmark.errors import LayoutmarkError, MissingPackageError

ROOT = Path(__file__).parents[2] / "reports"


def load(kind: str, file: str = "render.py") -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"export_{kind}_{Path(file).stem}", ROOT / kind / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results(example: ModuleType, tmp_path: Path) -> Any:
    return example.make_results(tmp_path, samples=5)


def test_fiftyone_gets_every_image_with_boxes_in_fractions(results: Any, tmp_path: Path) -> None:
    out = tmp_path / "fiftyone"
    assert load("fiftyone").render(results, tmp_path, out) == out / "load.py"
    stems = {p.stem for p in (out / "data").iterdir()}
    targets = json.loads((out / "targets.json").read_text("utf-8"))["labels"]
    detections = json.loads((out / "detections.json").read_text("utf-8"))["labels"]
    fields = json.loads((out / "fields.json").read_text("utf-8"))
    assert stems == set(targets) == set(detections) == set(fields["samples"])
    assert len(stems) + len(fields["without_image"]) == len(results["images"])
    assert all(image["reason"] for image in fields["without_image"])
    samples = {s["id"]: s for s in results["samples"]}
    for stem, sample_fields in fields["samples"].items():
        instances = samples[sample_fields["sample"]]["instances"]
        assert [t["label"] for t in targets[stem]] == [i["category"] for i in instances]
        for target, instance in zip(targets[stem], instances, strict=True):
            x, y, width, height = target["bounding_box"]
            assert [x, y, x + width, y + height] == pytest.approx(instance["box"])
        assert all(0 < d["confidence"] <= 1 for d in detections[stem])


def test_fiftyone_lists_a_missing_image_file(results: Any, tmp_path: Path) -> None:
    image = next(i for i in results["images"] if i["image"])
    (tmp_path / image["image"]).unlink()
    load("fiftyone").render(results, tmp_path, tmp_path / "out")
    fields = json.loads((tmp_path / "out" / "fields.json").read_text("utf-8"))
    assert "the image file is missing" in {i["reason"] for i in fields["without_image"]}


def test_fiftyone_never_clears_a_folder_it_did_not_write(results: Any, tmp_path: Path) -> None:
    out = tmp_path / "project"
    (out / "data").mkdir(parents=True)
    (out / "data" / "mine.txt").write_text("years of work")
    with pytest.raises(LayoutmarkError, match="files that this report did not write.*--out"):
        load("fiftyone").render(results, tmp_path, out)
    assert (out / "data" / "mine.txt").read_text() == "years of work"
    load("fiftyone").render(results, tmp_path, tmp_path / "own")
    before = sorted(p.name for p in (tmp_path / "own" / "data").iterdir())
    load("fiftyone").render(results, tmp_path, tmp_path / "own")
    assert sorted(p.name for p in (tmp_path / "own" / "data").iterdir()) == before


def test_target_attributes_avoid_the_fields_of_fiftyone(results: Any, tmp_path: Path) -> None:
    """Attributes become fields of FiftyOne's Detection (1.22), which reserves these names and checks their types."""
    reserved = {"id", "label", "bounding_box", "mask", "mask_path", "confidence", "index", "instance", "tags"}
    reserved.add("attributes")
    load("fiftyone").render(results, tmp_path, tmp_path / "out")
    targets = json.loads((tmp_path / "out" / "targets.json").read_text("utf-8"))["labels"]
    names = {key for listed in targets.values() for target in listed for key in target["attributes"]}
    assert {"target", "phrase", "miou"} <= names
    assert not names & reserved


def test_fiftyone_reads_the_folder(results: Any, tmp_path: Path) -> None:
    importers = pytest.importorskip("fiftyone.utils.data.importers", reason="FiftyOne is not installed")
    load("fiftyone").render(results, tmp_path, tmp_path / "out")
    with importers.FiftyOneImageDetectionDatasetImporter(
        data_path=str(tmp_path / "out" / "data"), labels_path=str(tmp_path / "out" / "targets.json")
    ) as importer:
        assert len(list(importer)) == len(list((tmp_path / "out" / "data").iterdir()))


def test_mlflow_gets_scores_and_reasons(results: Any, tmp_path: Path, monkeypatch: Any) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="the extra trackers is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    out = tmp_path / "mlflow"
    runs = json.loads(load("mlflow").render(results, tmp_path, out).read_text("utf-8"))
    assert len(runs["runs"]) == len(results["methods"])
    client = tracking.MlflowClient(tracking_uri=(out / "mlruns").resolve().as_uri())
    for row in results["rows"]:
        if row["method"] not in runs["runs"]:
            continue  # a name with lone surrogates, which were replaced
        data = client.get_run(runs["runs"][row["method"]]).data
        assert data.metrics.get(row["metric"]) == (None if row["value"] is None else pytest.approx(row["value"]))
        assert (f"unscored.{row['metric']}" in data.tags) == bool(row["unscored"])
        assert data.params["suite"] == results["suite"]["name"]


def test_wandb_is_offline_by_default(results: Any, tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("wandb", reason="the extra trackers is not installed")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    out = tmp_path / "wandb-out"
    small = {**results, "methods": results["methods"][:2]}
    runs = json.loads(load("wandb").render(small, tmp_path, out).read_text("utf-8"))
    assert runs["mode"] == "offline"
    assert len(runs["runs"]) == 2
    files = list((out / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == 2
    assert all(f.stat().st_size > 0 for f in files)


@pytest.mark.parametrize("kind", ["mlflow", "wandb"])
def test_a_missing_package_is_reported_with_its_extra(
    results: Any, tmp_path: Path, monkeypatch: Any, kind: str
) -> None:
    for name in ("mlflow", "mlflow.tracking", "wandb"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(MissingPackageError, match="trackers"):
        load(kind).render(results, tmp_path, tmp_path / "out")
