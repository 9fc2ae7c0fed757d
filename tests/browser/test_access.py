"""Accessibility of the page and the boards: contrast in light and dark, names of controls, width of a phone."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from layoutmark.leaderboard import build_board
from layoutmark.leaderboard.pages import render_html
from layoutmark.report import write_report

pytestmark = pytest.mark.browser
HERE = Path(__file__).parent
BOARD = HERE.parents[1] / "leaderboards" / "mini-mini"
CONTRAST = (HERE / "contrast.js").read_text("utf-8")
ACCESSIBLE_NAMES = (HERE / "accessible_names.js").read_text("utf-8")
WIDTH = (HERE / "width.js").read_text("utf-8")
WRAPPING = (HERE / "wrapping.js").read_text("utf-8")
LONG_NAMES = {"ilgd": "layout_and_retouch", "instance-diffusion": "instancediffusion@masked_attention_off",
        "one/prompt/one-story": "layout_and_retouch_box@personalised_only"}  # fmt: skip


@pytest.fixture(scope="module")
def page(example, tmp_path_factory) -> Path:
    """A page with every section: references, failures, leakage, cost, published figures, hostile names."""
    run = tmp_path_factory.mktemp("access")
    results = example.make_results(run, samples=24, seeds=(0, 1))
    head = next(m for m in results["metrics"] if m["name"] == "miou")
    kinds = ("sound", "missing")
    results["metrics"] += [{**head, "name": f"targets_{k}", "title": k, "variant": k} for k in kinds]
    template = next(r for r in results["rows"] if r["metric"] == "miou")
    for method in results["methods"]:
        results["rows"] += [
            {**template, "method": method["name"], "metric": f"targets_{k}", "value": v}
            for k, v in zip(kinds, (0.6, 0.4), strict=True)
        ]  # fmt: skip
        records = [
            {"instances": n, "images": 3, "seconds": 0.5 * n, "peak_bytes": 2**30, "memory": "process"} for n in (1, 2)
        ]
        results["times"].setdefault("cost", {})[method["name"]] = records
    for image in results["images"]:
        for scores in image["instances"].values():
            scores |= {"targets_sound": 0.0, "targets_missing": 1.0}
    results["leakage"] = {"dino": {"ilgd": {"categories": ["dog", "cat"], "own": [[0.9, 4], [0.1, 2]], "left_out": 3,
                                            "others": [[[None, 0], [0.5, 4]], [[0.3, 2], [None, 0]]]}}}  # fmt: skip
    results["methods"][1]["published"] = [
        {"metric": "ap50", "value": 0.6, "suite": "coco", "stack": "sd15", "scorer": "yolo", "presets": [""],
         "source": "Table 1", "note": "of the authors"}
    ]  # fmt: skip
    return write_report(results, run)


@pytest.fixture(scope="module")
def board(tmp_path_factory) -> Path:
    """The index page of a committed board."""
    folder = Path(shutil.copytree(BOARD, tmp_path_factory.mktemp("board") / "mini-mini"))
    build_board(folder)
    return folder / "index.html"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_has_enough_contrast(page: Path, probe: Any, dark: bool) -> None:
    """Every text of the page at 4.5 to 1, with all details open."""
    answer = probe(page, f"{CONTRAST} return {{ faint, checked, isDark }};", dark=dark)
    assert answer["isDark"] is dark
    assert answer["checked"] > 500
    assert answer["faint"] == []


def test_every_control_has_a_name(page: Path, probe: Any) -> None:
    fields = "nameless, withoutAlt, headingLevels, unreachableScrollers, tablesWithoutHeads"
    duplicates = "duplicateIds: ids.length - new Set(ids).size"
    open_details = "for (const d of $$('details')) d.open = true; await frame();"
    answer = probe(page, f"{open_details} {ACCESSIBLE_NAMES} return {{ {fields}, {duplicates} }};")
    levels = answer.pop("headingLevels")
    assert answer == {
        "nameless": [], "withoutAlt": 0, "duplicateIds": 0, "unreachableScrollers": [], "tablesWithoutHeads": 0,
    }  # fmt: skip
    assert levels[0] == 1
    assert max(b - a for a, b in pairwise(levels)) <= 1, "no level is skipped"


@pytest.mark.parametrize("width", [390, 1280])
def test_no_element_is_wider_than_the_window(page: Path, probe: Any, width: int) -> None:
    fields = "tooWide, inner: innerWidth, page: document.documentElement.scrollWidth"
    answer = probe(page, f"{WIDTH} return {{ {fields} }};", width=width)
    assert answer["inner"] == width
    assert answer["tooWide"] == []
    assert answer["page"] <= width


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_boards_are_accessible(board: Path, probe: Any, dark: bool) -> None:
    fields = "faint, checked, isDark, nameless, withoutAlt, tablesWithoutHeads, tooWide"
    script = f"{CONTRAST} {ACCESSIBLE_NAMES} {WIDTH} return {{ {fields}, page: document.documentElement.scrollWidth }};"
    answer = probe(board, script, dark=dark, width=390)
    assert answer.pop("checked") > 50
    assert answer.pop("page") <= 390
    assert answer == {
        "faint": [], "isDark": dark, "nameless": [], "withoutAlt": 0, "tablesWithoutHeads": 0, "tooWide": [],
    }  # fmt: skip


@pytest.mark.parametrize("width", [390, 1280])
def test_long_names_wrap_between_words_and_scores_stay_in_their_cells(
    example, probe: Any, tmp_path: Path, width: int
) -> None:
    text = json.dumps(example.make_results(tmp_path, samples=24, hostile=False))
    for short, long in LONG_NAMES.items():
        text = text.replace(short, long)
    path = write_report(json.loads(text), tmp_path)
    broken = "broken: brokenParts('th bdi, .verdicts bdi, .lede bdi')"
    names = "names: $$('th bdi').map((n) => n.textContent)"
    overflowing = """const overflowing = $$(".scores td small").filter((s) => {
      const range = document.createRange();
      range.selectNodeContents(s);
      const text = range.getBoundingClientRect(), cell = s.closest("td").getBoundingClientRect();
      return text.left < cell.left - 1 || text.right > cell.right + 1;
    }).map((s) => s.textContent);"""
    answer = probe(path, f"{WRAPPING} {overflowing} return {{ {broken}, {names}, overflowing }};", width=width)
    assert set(LONG_NAMES.values()) <= set(answer["names"])
    assert answer["broken"] == []
    assert answer["overflowing"] == []


@pytest.mark.parametrize("width", [390, 1280])
def test_long_names_of_a_board_wrap_between_words(board: Path, probe: Any, tmp_path: Path, width: int) -> None:
    name = LONG_NAMES["one/prompt/one-story"]
    table = (board.parent / "board.json").read_text("utf-8").replace('"instancediffusion"', f'"{name}"')
    path = tmp_path / "index.html"
    path.write_text(render_html(json.loads(table)), "utf-8")
    fields = "names: $$('th').map((n) => n.textContent), page: $$('body')[0].scrollWidth"
    answer = probe(path, f"{WRAPPING} return {{ broken: brokenParts('tbody th, h3'), {fields} }};", width=width)
    assert name in answer["names"]
    assert answer["broken"] == []
    assert answer["page"] <= width
