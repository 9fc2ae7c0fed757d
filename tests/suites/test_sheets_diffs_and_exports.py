"""Contact sheets, differences between versions, and exports of suites."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from layoutmark.api import BuiltSuite
from layoutmark.cli.main import main
from layoutmark.ingest.references import make_reference
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Sample
from layoutmark.metrics.coco_files import read_pair
from layoutmark.registry import Registry
from layoutmark.registry.card_types import Source, SuiteItem
from layoutmark.suites import FileSuite, diff_suites, export_suite, load_built_suite, save_built_suite
from layoutmark.suites.contact_sheet import COLOURS, TILE, draw_contact_sheet
from layoutmark.suites.contact_sheet_html import render_contact_sheet

ITEM = SuiteItem("toy", "Toy", "1", Source.BUILD)
MASK = Mask.from_array(np.indices((30, 40))[1] < 20)


def make_sample(number: int) -> Sample:
    kite = Instance("0", "a kite", "kite", Box(0.1, 0.2, 0.5, 0.8), MASK, (0.3, 0.5), ((0.2, 0.3), (0.4, 0.6)))
    tent = Instance("1", "a <tent>", "tent", Box(0.5, 0.5, 0.9, 0.9), attributes={"colour": "red"})
    layout = Layout(Canvas(40, 30), (kite, tent))
    return Sample(f"toy-{number}", "a kite\u202e and a tent " * (number + 1), layout, {"count": "2"}, {"licence": "x"})


@pytest.fixture
def suite(tmp_path) -> FileSuite:
    built = BuiltSuite(tuple(make_sample(n) for n in range(3)), ("kite", "tent"), {}, ("told",))
    return load_built_suite(save_built_suite(built, ITEM, tmp_path / "toy"))


def test_contact_sheet_shows_every_box_and_mask(suite) -> None:
    sheet = np.asarray(draw_contact_sheet(suite, suite.samples[:1]))
    tile = sheet[8 : 8 + TILE * 3 // 4, 8 : 8 + TILE]
    for colour, box in zip(COLOURS, suite.samples[0].layout.boxes(), strict=False):
        x0, y0, x1, y1 = (box * [TILE, TILE * 3 / 4, TILE, TILE * 3 / 4]).round().astype(int)
        assert (tile[(y0 + y1) // 2, x0] == colour).all()
        assert (tile[y1 - 1, (x0 + x1) // 2] == colour).all()
    masked, background = tile[5, 5].astype(int), tile[5, TILE - 5].astype(int)
    assert tuple(background) == (236, 236, 236)
    assert abs(masked - background).sum() > 50


def test_contact_sheet_shows_true_images() -> None:
    mini = Registry().get_suite("mini").load().open_suite("mini")
    sheet = np.asarray(draw_contact_sheet(mini, mini.samples[:5]))
    assert sheet.shape[1] == 4 * (TILE + 16)
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 500


def test_html_sheet_is_complete_and_self_contained(suite) -> None:
    page = render_contact_sheet(suite, suite.samples)
    assert page.count("<figure") == 3
    assert page.count("<rect") == page.count("&lt;tent&gt;</title>") * 2 == 6
    assert page.count("<polyline") == page.count("<circle") == page.count("<image") == 3
    assert "<tent>" not in page
    assert "<bdi>a kite\u202e and a tent" in page
    assert not re.search(r"<script|(?:href|src)=\"(?!data:)", page)
    box = re.search(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', page)
    assert [float(v) for v in box.groups()] == pytest.approx([24, 36, 96, 108])
    root = ElementTree.fromstring(re.search(r"<svg.*?</svg>", page)[0])
    assert root.get("viewBox") == "0 0 240 180"


def test_html_sheet_shows_true_images() -> None:
    mini = Registry().get_suite("mini").load().open_suite("mini")
    page = render_contact_sheet(mini, mini.samples[:2])
    masks = sum(i.mask is not None for s in mini.samples[:2] for i in s.layout.instances)
    assert page.count("<image") == 2 + masks


def test_suite_is_identical_to_itself(suite) -> None:
    assert diff_suites(suite, suite).is_identical


def test_differences_are_named(suite) -> None:
    a, b, c = suite.samples
    moved = replace(b.layout.instances[1], box=Box(0, 0, 0.5, 0.5))
    changed = replace(b, prompt="x", layout=Layout(b.layout.canvas, (b.layout.instances[0], moved)))
    changed_suite = replace(suite, samples=(c, changed, replace(a, id="toy-9")))
    difference = diff_suites(suite, changed_suite)
    assert (difference.removed, difference.added, difference.reordered) == (("toy-0",), ("toy-9",), True)
    assert difference.changed == {"toy-1": ("instance 1: box", "prompt")}


def test_exported_coco_is_read_back(suite, tmp_path) -> None:
    path = export_suite(suite, "coco", tmp_path / "out")
    data = json.loads(path.read_text("utf-8"))
    assert [i["sample_id"] for i in data["images"]] == [s.id for s in suite.samples]
    np.testing.assert_allclose(data["annotations"][0]["bbox"], [4, 6, 16, 18])
    assert data["annotations"][0]["segmentation"]["size"] == [30, 40]
    assert "segmentation" not in data["annotations"][1]
    (tmp_path / "none.json").write_text("[]")
    assert len(read_pair(path, tmp_path / "none.json").images) == 3


def test_exported_lines_are_the_samples(suite, tmp_path) -> None:
    from layoutmark.layout import sample_from_json

    lines = export_suite(suite, "jsonl", tmp_path).read_text("utf-8").splitlines()
    assert tuple(sample_from_json(json.loads(line)) for line in lines) == tuple(suite.samples)


def test_hugging_face_opens_exports(suite, tmp_path, monkeypatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    export_suite(suite, "huggingface", tmp_path / "plain")
    dataset = datasets.load_dataset(str(tmp_path / "plain"), cache_dir=str(tmp_path / "cache"), split="test")
    assert dataset["prompt"] == [s.prompt for s in suite.samples]
    assert dataset[0]["instances"][0]["box"] == [0.1, 0.2, 0.5, 0.8]
    mini = Registry().get_suite("mini").load().open_suite("mini")
    subset = type(
        "Few", (), {n: getattr(mini, n) for n in ("name", "version", "digest", "notes", "true_image", "references")}
    )()
    subset.samples = mini.samples[:2]
    path = export_suite(subset, "huggingface", tmp_path / "seen")
    assert pq.read_table(path).column("file_name").to_pylist() == ["000000.png", "000001.png"]
    image_dataset = datasets.load_dataset(str(tmp_path / "seen"), cache_dir=str(tmp_path / "cache"), split="test")
    assert np.array_equal(np.asarray(image_dataset[1]["image"]), mini.true_image(mini.samples[1].id))


def test_hugging_face_opens_exports_with_references(tmp_path, monkeypatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    references = (make_reference(np.full((4, 6, 3), 9, np.uint8), "kite", np.eye(4, 6, dtype=bool)),)
    sample = make_sample(0)
    instance = replace(sample.layout.instances[0], reference=references[0].key)
    sample = replace(sample, layout=Layout(sample.layout.canvas, (instance, sample.layout.instances[1])))
    built = BuiltSuite((sample,), ("kite", "tent"), references=references)
    suite = load_built_suite(save_built_suite(built, ITEM, tmp_path / "toy"))
    export_suite(suite, "huggingface", tmp_path / "out")
    rows = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert list(rows) == ["test"]
    (row,) = rows["test"]
    assert [i["reference"] for i in row["instances"]] == [references[0].key, None]
    with Image.open(tmp_path / "out" / "references" / f"{row['instances'][0]['reference']}.png") as image:
        assert image.mode == "RGBA"
        assert np.array_equal(np.asarray(image)[..., 3] > 0, references[0].mask)


def test_suite_commands(suite, tmp_path, capsys) -> None:
    folder = str(tmp_path / "toy")
    assert main(["suites", "show", "mini", "--sheet", str(tmp_path / "mini.png"), "--limit", "3"]) == 0
    with Image.open(tmp_path / "mini.png") as image:
        assert image.format == "PNG"
    assert "3 of 144 layouts of mini" in capsys.readouterr().out
    assert main(["suites", "show", folder, "--sheet", str(tmp_path / "toy.html")]) == 0
    assert "<figure" in (tmp_path / "toy.html").read_text("utf-8")
    capsys.readouterr()
    assert main(["suites", "show", folder.replace("toy", "mini"), "--json"]) == 3
    assert main(["suites", "show", "mini-refs", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert (output["name"], output["aspect"]) == ("mini-refs", "native")
    assert main(["suites", "diff", folder, folder]) == 0
    assert main(["suites", "diff", folder, "mini", "--json"]) == 1
    output = capsys.readouterr().out
    assert json.loads(output[output.index("{") :])["removed"] == ["toy-0", "toy-1", "toy-2"]
    assert main(["suites", "export", folder, "--form", "jsonl", "--out", str(tmp_path / "x")]) == 0
    assert (tmp_path / "x" / "toy.jsonl").is_file()
    assert main(["suites", "export", folder, "--form", "coc", "--out", str(tmp_path / "x")]) == 3
    assert "mean 'coco'" in capsys.readouterr().err
    assert not list(Path(tmp_path / "x").glob("*.tmp"))
