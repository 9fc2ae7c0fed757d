"""The committed model card: its page matches card.json, and both describe the weights beside them."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from layoutmark.registry import Registry, resolve_settings
from layoutmark.training import card, card_page
from layoutmark.training.card import Figure

REGISTRY = Registry()
STACK = REGISTRY.get_stack("mini")
STALE = "the card is stale: run `layoutmark train card --stack mini`"
BARS = {
    "detector AP50 on true images": 0.97,
    "CLIP zero-shot category accuracy on true crops": 0.90,
    "DINO nearest identity among same-category portraits": 0.85,
    "segmenter mask IoU on true images, true boxes": 0.85,
    "segmenter mask IoU on true images, detected boxes": 0.85,
    "quality falls with blur (minus Spearman)": 0.90,
    "quality falls with noise (minus Spearman)": 0.90,
    "quality falls with jpeg (minus Spearman)": 0.90,
    "quality falls with posterise (minus Spearman)": 0.90,
    "base draws the prompted categories (recall)": 0.80,
}


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    path = STACK.folder / card_page.CARD_FILE
    assert path.is_file(), STALE
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return loaded


@pytest.fixture(scope="module")
def readme() -> str:
    path = STACK.folder / card_page.README_FILE
    assert path.is_file(), STALE
    return path.read_text("utf-8")


def test_all_figures_with_their_bars(data: dict[str, Any]) -> None:
    assert {f["name"]: f["least"] for f in data["figures"]} == BARS
    assert all(f["holds"] == (f["value"] >= f["least"]) and f["n"] > 0 for f in data["figures"])


def test_page_shows_the_figures_of_the_card(data: dict[str, Any], readme: str) -> None:
    rows = re.findall(r"^\| (.+?) \| (\d\.\d{4}|-\d\.\d{4}) \| (\d\.\d\d) \| (\d+) .+? \| (.+?) \|$", readme, re.M)
    shown = {name: (value, bar, n, verdict.strip("*")) for name, value, bar, n, verdict in rows}
    expected = {
        f["name"]: (f"{f['value']:.4f}", f"{f['least']:.2f}", str(f["n"]), "holds" if f["holds"] else "does not hold")
        for f in data["figures"]
    }
    assert shown == expected
    weights = sum(p.stat().st_size for p in STACK.folder.rglob("*.safetensors"))
    assert readme == card_page.render_readme(STACK.card, data, weights), STALE


def test_figures_were_measured_on_the_shipped_weights(data: dict[str, Any]) -> None:
    assert data["made_with"]["sha256"] == card.weight_digests(STACK, STACK.folder), STALE
    assert data["stack"] == {"name": STACK.name, "version": STACK.card.version}


def test_figures_were_measured_with_the_current_settings(data: dict[str, Any]) -> None:
    method = REGISTRY.get_method(card.METHOD).card
    assert data["made_with"]["method"]["settings"] == resolve_settings(method, STACK.name), STALE
    assert data["made_with"]["method"]["version"] == method.version


def test_page_describes_the_training(data: dict[str, Any], readme: str) -> None:
    assert data["training"] == card_page.read_training_record(STACK.folder), STALE
    assert {"generator", "detector", "clip", "dino"} <= set(data["training"]["parts"])
    for name, part in data["training"]["parts"].items():
        assert f"| {name} | {part['steps']:,} | {part['batch']} | {part['seconds']:,} |" in readme
    assert all(f"{value}" in readme for key, value in data["training"]["machine"].items() if key != "gpu")


def test_contact_sheet() -> None:
    path = STACK.folder / card_page.CONTACT_SHEET_FILE
    assert path.stat().st_size < 400_000
    with Image.open(path) as image:
        assert image.size == (12 * 64 * 2, (4 * 64 + 6) * 2)


def test_page_lists_missed_thresholds(data: dict[str, Any]) -> None:
    low = asdict(Figure("detector AP50 on true images", 0.5, 0.97, 512, "renders")) | {"holds": False}
    text = card_page.render_readme(STACK.card, {**data, "figures": [low, *data["figures"][1:]]}, 1)
    assert "does not hold" in card_page.format_figure(low)
    assert "thresholds are missed: detector AP50 on true images" in text


def test_figure_holds_at_or_above_its_threshold() -> None:
    assert Figure("x", 0.9, 0.9, 1, "things").holds
    assert not Figure("x", 0.8999, 0.9, 1, "things").holds


def test_recall_takes_each_detection_once() -> None:
    detections = [
        SimpleNamespace(labels=("cat", "dog", "cat"), scores=(0.9, 0.24, 0.3)),
        SimpleNamespace(labels=("car",), scores=(0.9,)),
    ]
    scorers: Any = SimpleNamespace(detector=SimpleNamespace(detect=lambda images: detections))
    blank = np.zeros((8, 8, 3), np.uint8)
    recall, n = card.generated_recall([blank, blank], [["cat", "cat", "dog"], ["car", "car"]], scorers)
    assert (recall, n) == (pytest.approx(3 / 5), 5)


def test_missing_training_record_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"found no training.json.*layoutmark train stack"):
        card_page.read_training_record(tmp_path)
