import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
import pytest

from layoutmark.errors import LayoutmarkError


class Reader(HTMLParser):
    """Elements with attributes, and the raw text of style and script elements."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, str] = {}
        self.text: list[str] = []
        self._open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        self._open = {"style": "style", "script": str(attributes.get("id") or "script")}.get(tag, "")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.raw[self._open] = self.raw.get(self._open, "") + data
        else:
            self.text.append(data)


def policy(reader: Reader) -> str:
    return next(str(a["content"]) for t, a in reader.elements if t == "meta" and "http-equiv" in a)


def test_two_renders_are_byte_equal(example: ModuleType, render_page: Any, tmp_path: Path) -> None:
    results = example.make_results(tmp_path)
    once = render_page(results, tmp_path)
    with matplotlib.rc_context({"font.size": 20.0, "axes.grid": True}):
        twice = render_page({**results, "times": {"generate": 99.0}}, tmp_path)
    assert once == twice


def test_policy_allows_only_the_pages_style_and_script(hostile: Any) -> None:
    reader = Reader(hostile[1])
    allowed = policy(reader)
    for kind, name in (("style-src", "style"), ("script-src", "script")):
        digest = base64.b64encode(hashlib.sha256(reader.raw[name].encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}';" in allowed
    assert "default-src 'none'" in allowed
    assert "img-src data:;" in allowed
    assert "unsafe" not in allowed


def test_nothing_inline_that_the_policy_would_block(hostile: Any) -> None:
    for tag, attributes in Reader(hostile[1]).elements:
        assert "style" not in attributes, tag
        assert not [a for a in attributes if a.startswith("on")], tag


def test_hostile_texts_are_escaped(hostile: Any, example: ModuleType) -> None:
    results, page = hostile
    reader = Reader(page)
    tags = [t for t, _ in reader.elements]
    assert tags.count("script") == 2
    assert "img" not in tags
    text = "".join(reader.text)
    assert example.HANDLER in text
    assert f"a/b/{example.SCRIPT}" in text
    assert "<" not in reader.raw["data"]
    data = json.loads(reader.raw["data"])
    assert [s["prompt"] for s in data["samples"][:5]] == [s["prompt"] for s in results["samples"][:5]]
    assert data["samples"][5]["prompt"] == "\u202ereversed\u202c \ufffd[31mred\ufffd \ufffd"


def test_nothing_is_loaded_from_elsewhere(hostile: Any) -> None:
    page = hostile[1]
    assert not re.search(r"https?:", page)
    for _, attributes in Reader(page).elements:
        for key in ("src", "href", "xlink:href"):
            assert str(attributes.get(key) or "#").startswith("#")


def test_ids_are_unique_and_references_are_valid(hostile: Any) -> None:
    elements = Reader(hostile[1]).elements
    ids = [str(a["id"]) for _, a in elements if "id" in a]
    assert len(ids) == len(set(ids))
    values = [v for _, a in elements for v in a.values() if v]
    references = {m for v in values for m in re.findall(r"url\(#([^)]+)\)", v)}
    references |= {str(a["href"])[1:] for _, a in elements if a.get("href")}
    assert references
    assert references <= set(ids)


def test_cells_without_a_score_show_the_reason(hostile: Any) -> None:
    page = hostile[1]
    scores = page[page.index('<table class="scores"') : page.index("</table>")]
    assert '<td class="unscored">not scored<small>12 <bdi>no references in this suite</bdi></small></td>' in scores
    assert "<td></td>" not in scores
    for cell in re.findall(r"<td.*?</td>", scores):
        assert "not scored" in cell or re.search(r"\d\.\d{3}", cell)
    assert '<small class="few">11 of 12</small>' in scores
    assert "11 of 12 scored. 1 <bdi>not applicable</bdi>." in page.replace("11 <bdi>", "")


def test_missing_image_files_are_placeholders_and_counted(
    example: ModuleType, render_page: Any, tmp_path: Path
) -> None:
    results = example.make_results(None)
    page = render_page(results, tmp_path)
    files = {i["image"] for i in results["images"] if i["image"]}
    assert f"{len(files)} image files could not be read; placeholders are shown instead." in page
    data = json.loads(Reader(page).raw["data"])
    assert data["thumbnails"] == []
    gone = [i for i in data["images"]["more"].values() if i.get("gone")]
    assert len(gone) == sum(1 for i in results["images"] if i["image"])


def test_counts_of_all_statuses_are_shown(hostile: Any) -> None:
    assert "48 images requested, 44 ok, 1 degenerate, 1 not applicable, 1 failed, 1 missing." in hostile[1]
    assert "37 of 165 samples of the source fall outside the vocabulary and were left out." in hostile[1]


def test_methods_left_out_are_listed(example: ModuleType, render_page: Any, tmp_path: Path) -> None:
    results = example.make_results(None, samples=1, hostile=False)
    page = render_page({**results, "left_out": {"migc": "needs <masks>"}}, tmp_path)
    assert "Left out: <bdi>migc</bdi> (needs &lt;masks&gt;)." in page


def test_empty_results_render(example: ModuleType, render_page: Any, tmp_path: Path) -> None:
    results = example.make_results(None, samples=1, hostile=False)
    for key in ("methods", "rows", "pairs", "samples", "images", "metrics"):
        results[key] = []
    page = render_page({**results, "ties": {}}, tmp_path)
    assert "No pair of methods was compared." in page
    assert "No scores to plot." in page


def test_another_schema_is_refused(example: ModuleType, render_page: Any, tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError) as caught:
        render_page({**example.make_results(None, samples=1), "schema": "layoutmark-results-0"}, tmp_path)
    assert caught.value.found == "schema 'layoutmark-results-0'"
    assert caught.value.expected == "'layoutmark-results-1'"
    assert not (tmp_path / "report").exists()


def test_incomplete_results_are_refused(example: ModuleType, render_page: Any, tmp_path: Path) -> None:
    results = example.make_results(None, samples=1)
    del results["images"]
    with pytest.raises(LayoutmarkError, match=r"found no images; expected a complete results\.json"):
        render_page(results, tmp_path)
