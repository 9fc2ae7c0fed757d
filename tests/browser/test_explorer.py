"""The sample explorer in a real browser: order, filters, keys, which rows are drawn, print."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from layoutmark.report import write_report

pytestmark = pytest.mark.browser
OUTCOMES = ("sound", "missing", "misplaced")
EXPLORER = (Path(__file__).with_name("explorer.js")).read_text("utf-8")


@pytest.fixture(scope="module")
def results(example, tmp_path_factory) -> tuple[dict[str, Any], Path]:
    """Results of two seeds in which every target has an outcome, and their page."""
    run = tmp_path_factory.mktemp("explorer")
    results = example.make_results(run, samples=12, seeds=(0, 1), hostile=False)
    head = next(m for m in results["metrics"] if m["name"] == "miou")
    results["metrics"] += [{**head, "name": f"targets_{k}", "title": k, "variant": k} for k in OUTCOMES]
    for number, image in enumerate(results["images"]):
        for k, scores in enumerate(image["instances"].values()):
            index = (number + k) % len(OUTCOMES)
            scores |= {f"targets_{outcome}": float(index == i) for i, outcome in enumerate(OUTCOMES)}
    return results, write_report(results, run)


def scores(results: Mapping[str, Any], metric: str, method: str) -> dict[str, float]:
    """Scores of the first seed by sample."""
    return {
        i["sample"]: i["scores"][metric] for i in results["images"]
        if (i["method"], i["seed"]) == (method, 0) and isinstance(i["scores"].get(metric), float)
    }  # fmt: skip


def test_every_metric_orders_the_samples(results, probe) -> None:
    data, page = results
    answer = probe(page, EXPLORER + """
      const orders = [];
      for (const [number, title] of options("metric")) for (const [column, method] of options("column"))
        for (const order of ["worst", "best"]) {
          set("sort", order); set("metric", number); set("column", column);
          orders.push([title, method, order, rows()]);
        }
      set("sort", "disagree"); set("metric", 0);
      return { orders, disagree: [options("metric")[0][1], rows()] };""")  # fmt: skip
    titles = {m["title"]: m for m in data["metrics"]}
    assert len(answer["orders"]) == 6 * 7 * 2
    for title, method, order, labels in answer["orders"]:
        name = "ceiling" if method == "true image" else method
        scored = scores(data, titles[title]["name"], name)
        ids = [label.removeprefix("Sample ") for label in labels]
        assert len(ids) == len(set(ids)) == 12
        is_ascending = titles[title]["higher_is_better"] == (order == "worst")
        values = [round(scored[i], 4) for i in ids[: len(scored)]]  # rows without a score come last
        assert values == sorted(values, reverse=not is_ascending), (title, method, order)
    title, labels = answer["disagree"]
    methods = [m["name"] for m in data["methods"] if m["kind"] == "method"]
    columns = [scores(data, titles[title]["name"], m) for m in methods]
    values_of = {s["id"]: [c[s["id"]] for c in columns if s["id"] in c] for s in data["samples"]}
    ranges = [max(v) - min(v) for label in labels if len(v := values_of[label.removeprefix("Sample ")]) > 1]
    assert ranges == sorted(ranges, reverse=True)


def test_failures_filter_the_samples(results, probe) -> None:
    data, page = results
    answer = probe(page, EXPLORER + """
      const listed = {};
      for (const [value, name] of options("outcome")) { set("outcome", value); listed[`outcome ${name}`] = rows(); }
      set("outcome", "");
      for (const [value, name] of options("status")) { set("status", value); listed[`status ${name}`] = rows(); }
      set("status", "");
      set("text", "mini-0004"); listed.text = rows();
      set("text", "no such words"); listed.none = [document.getElementById("none").hidden, rows()];
      document.querySelector("#filters [type=reset]").click(); await frame();
      listed.reset = rows(); listed.tally = document.getElementById("tally").textContent;
      return listed;""")  # fmt: skip
    methods = {m["name"] for m in data["methods"] if m["kind"] == "method"}

    def labels(matches: Any) -> list[str]:
        ids = {i["sample"] for i in data["images"] if i["method"] in methods and i["seed"] == 0 and matches(i)}
        return [f"Sample {s['id']}" for s in data["samples"] if s["id"] in ids]

    for outcome in OUTCOMES:
        expected = labels(lambda i, k=outcome: any(s.get(f"targets_{k}") == 1 for s in i["instances"].values()))
        assert answer[f"outcome {outcome}"] == expected
    assert answer["status failed"] == labels(lambda i: i["status"] == "failed")
    assert answer["status missing"] == labels(lambda i: i["status"] == "missing")
    assert answer["status not applicable"] == labels(lambda i: i["status"] == "not_applicable")
    assert answer["text"] == ["Sample mini-0004"]
    assert answer["none"] == [False, []]
    assert len(answer["reset"]) == 12
    assert answer["tally"] == "12 of 12"


def test_keys_step_through_samples_and_images(results, probe) -> None:
    answer = probe(results[1], EXPLORER + """
      const log = { steps: [] };
      const focusedRow = () => document.activeElement.closest(".row")?.getAttribute("aria-label");
      for (const key of ["j", "j", "j", "k"]) {
        press(key); await frame();
        log.steps.push(focusedRow());
      }
      const exists = (path) => $$(path).length > 0;
      const boxes = () => [exists(".boxes rect[stroke-dasharray]"), exists(".boxes rect:not([stroke-dasharray])")];
      log.both = boxes();
      press("t"); await frame(); log.noTargets = boxes().concat($$(".boxes rect[stroke-dasharray]").length);
      press("t"); press("d"); await frame(); log.noDetections = [boxes()[0], $$(".boxes text").length > 0];
      press("d"); await frame();
      const button = $$(".image-button").find((p) => p.closest(".row").contains(document.activeElement));
      log.button = button.tagName;
      button.click(); await frame();
      const viewer = document.getElementById("viewer");
      const title = () => document.getElementById("viewer-title").textContent;
      log.open = [viewer.open, title()];
      for (const key of ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"]) {
        press(key, viewer);
        log.steps.push(title());
      }
      log.link = viewer.querySelector("a")?.getAttribute("href");
      log.written = (press("t", document.querySelector("[name=text]")), boxes());
      viewer.close(); log.closed = viewer.open;
      return log;""")  # fmt: skip
    rows, views = answer["steps"][:4], answer["steps"][4:]
    assert rows == ["Sample mini-0000", "Sample mini-0001", "Sample mini-0002", "Sample mini-0001"]
    assert answer["both"] == [True, True]
    assert answer["noTargets"][2] == 0
    assert answer["noDetections"][0] is True
    assert answer["button"] == "BUTTON", "Enter and space open what is a button"
    assert answer["open"] == [True, "true image mini-0001 seed 0"]
    assert views == [
        "base mini-0001 seed 0", "base mini-0002 seed 0", "true image mini-0002 seed 0", "true image mini-0001 seed 0",
    ]  # fmt: skip
    assert answer["link"].startswith("../images/")
    assert (results[1].parent / answer["link"]).resolve().is_file()
    assert answer["closed"] is False


def test_references_are_shown_beside_their_phrases(results, probe) -> None:
    answer = probe(
        results[1],
        """
      document.querySelector("#rows").scrollIntoView(); await frame();
      const hasReference = (li) => !!li.querySelector("img.reference[alt=reference]");
      return $$(".row .phrases li").map((li) => [li.textContent, hasReference(li)]);""",
    )
    assert answer
    assert all(has_reference for _, has_reference in answer)


def test_only_rows_near_the_window_are_drawn(example, probe, tmp_path) -> None:
    data = example.make_results(tmp_path, samples=600, hostile=False)
    answer = probe(
        write_report(data, tmp_path),
        """
      const filled = () => $$(".strip").length;
      const counts = [];
      document.getElementById("rows").scrollIntoView(); await frame(); counts.push(filled());
      const list = document.getElementById("rows"), near = [];
      for (const at of [0.25, 0.5, 0.75, 1]) {
        const box = list.getBoundingClientRect();
        window.scrollTo(0, scrollY + box.top + at * (box.height - innerHeight));
        const middle = () => document.elementFromPoint(innerWidth / 2, innerHeight / 2)?.closest(".row");
        for (let k = 0; k < 20 && !middle()?.querySelector(".strip"); k++) await frame();
        counts.push(filled());
        if (!middle()?.querySelector(".strip")) throw new Error(`an empty row in the window at ${at}`);
        near.push(Number(middle().getAttribute("aria-label").slice(-4)));
      }
      return { counts, near, rows: $$(".row").length, tall: list.offsetHeight };""",
    )
    assert answer["rows"] < 150
    assert answer["tall"] > 600 * 200
    assert [round(n / 600, 1) for n in answer["near"]] == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.06)
    assert all(0 < n < 40 for n in answer["counts"]), answer["counts"]


def test_print_shows_closed_details_and_rows_off_screen(results, probe, chromium, tmp_path) -> None:
    answer = probe(
        results[1],
        """
      const parts = "header details, #scores details, #plots details, #notes details";
      const closed = () => $$(parts).filter((d) => !d.open).length;
      const before = [closed(), $$(".strip").length];
      window.dispatchEvent(new Event("beforeprint"));
      const printed = [closed(), $$(".strip").length];
      window.dispatchEvent(new Event("afterprint"));
      return { before, printed, after: closed() };""",
    )
    assert answer["before"][0] > 0
    assert answer["printed"] == [0, 12]
    assert answer["after"] == answer["before"][0]
    pdf = tmp_path / "page.pdf"
    subprocess.run(chromium(results[1], f"--print-to-pdf={pdf}"), capture_output=True, timeout=300, check=True)
    assert pdf.read_bytes()[:5] == b"%PDF-"


def test_every_row_of_the_table_is_a_column(results, probe) -> None:
    answer = probe(
        results[1],
        """
      return $$("#columns label").map((label) => label.textContent);""",
    )
    methods = [m["name"] for m in results[0]["methods"] if m["kind"] == "method"]
    assert answer == ["true image", *methods, "floor-shuffled", "floor-blank"]
