"""The page and the boards for every reader: contrast in light and dark, names of controls, width of a phone."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from layoutmark.leaderboard import build_board
from layoutmark.leaderboard.pages import as_html
from layoutmark.report import write_report

pytestmark = pytest.mark.browser
HERE = Path(__file__).parent
BOARD = HERE.parents[1] / "leaderboards" / "mini-mini"
CONTRAST = (HERE / "contrast.js").read_text("utf-8")
NAMES = (HERE / "accessible_names.js").read_text("utf-8")
WIDTH = (HERE / "width.js").read_text("utf-8")
WORDS = (HERE / "wrapping.js").read_text("utf-8")
LONG = {"ilgd": "layout_and_retouch", "instance-diffusion": "instancediffusion@masked_attention_off",
        "one/prompt/one-story": "layout_and_retouch_box@personalised_only"}  # fmt: skip


@pytest.fixture(scope="module")
def page(example, tmp_path_factory) -> Path:
    """A page that has every part: references, failures, leakage, cost, published figures, hostile names."""
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
        line = [
            {"instances": n, "images": 3, "seconds": 0.5 * n, "peak_bytes": 2**30, "memory": "process"} for n in (1, 2)
        ]
        results["times"].setdefault("cost", {})[method["name"]] = line
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
def test_texts_stand_out(page: Path, probe: Any, dark: bool) -> None:
    """Every text of the page, 4.5 to 1, whatever is folded opened."""
    told = probe(page, f"{CONTRAST} return {{ faint, seen, night }};", dark=dark)
    assert told["night"] is dark
    assert told["seen"] > 500
    assert told["faint"] == []


def test_everything_has_a_name(page: Path, probe: Any) -> None:
    facts = "nameless, noAlt, twice: ids.length - new Set(ids).size, headings, scrollers, headless"
    told = probe(page, f"for (const d of $$('details')) d.open = true; await frame(); {NAMES} return {{ {facts} }};")
    steps = told.pop("headings")
    assert told == {"nameless": [], "noAlt": 0, "twice": 0, "scrollers": [], "headless": 0}
    assert steps[0] == 1
    assert max(b - a for a, b in pairwise(steps)) <= 1, "no level is skipped"


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_sticks_out(page: Path, probe: Any, width: int) -> None:
    facts = "wide, inner: innerWidth, page: document.documentElement.scrollWidth"
    told = probe(page, f"{WIDTH} return {{ {facts} }};", width=width)
    assert told["inner"] == width
    assert told["wide"] == []
    assert told["page"] <= width


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_boards_are_readable_too(board: Path, probe: Any, dark: bool) -> None:
    facts = "faint, seen, night, nameless, noAlt, headless, wide, page: document.documentElement.scrollWidth"
    told = probe(board, f"{CONTRAST} {NAMES} {WIDTH} return {{ {facts} }};", dark=dark, width=390)
    assert told.pop("seen") > 50
    assert told.pop("page") <= 390
    assert told == {"faint": [], "night": dark, "nameless": [], "noAlt": 0, "headless": 0, "wide": []}


@pytest.mark.parametrize("width", [390, 1280])
def test_long_names_go_on_between_words_and_scores_stay_in_their_cells(
    example, probe: Any, tmp_path: Path, width: int
) -> None:
    text = json.dumps(example.make_results(tmp_path, samples=24, hostile=False))
    for short, long in LONG.items():
        text = text.replace(short, long)
    path = write_report(json.loads(text), tmp_path)
    facts = "torn: torn('th bdi, .verdicts bdi, .lede bdi'), names: $$('th bdi').map((n) => n.textContent), over"
    over = """const over = $$(".scores td small").filter((s) => {
      const range = document.createRange();
      range.selectNodeContents(s);
      const text = range.getBoundingClientRect(), cell = s.closest("td").getBoundingClientRect();
      return text.left < cell.left - 1 || text.right > cell.right + 1;
    }).map((s) => s.textContent);"""
    told = probe(path, f"{WORDS} {over} return {{ {facts} }};", width=width)
    assert set(LONG.values()) <= set(told["names"])
    assert told["torn"] == []
    assert told["over"] == []


@pytest.mark.parametrize("width", [390, 1280])
def test_long_names_of_a_board_go_on_between_words(board: Path, probe: Any, tmp_path: Path, width: int) -> None:
    name = LONG["one/prompt/one-story"]
    table = (board.parent / "board.json").read_text("utf-8").replace('"instancediffusion"', f'"{name}"')
    path = tmp_path / "index.html"
    path.write_text(as_html(json.loads(table)), "utf-8")
    facts = "torn: torn('tbody th, h3'), names: $$('th').map((n) => n.textContent), page: $$('body')[0].scrollWidth"
    told = probe(path, f"{WORDS} return {{ {facts} }};", width=width)
    assert name in told["names"]
    assert told["torn"] == []
    assert told["page"] <= width
