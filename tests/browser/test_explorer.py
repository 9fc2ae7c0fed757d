"""The explorer in a real browser: order, filters, keys, what is drawn and what is not, print."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from layoutmark.report import write_report

pytestmark = pytest.mark.browser
KINDS = ("sound", "missing", "misplaced")
CHOOSE = (Path(__file__).with_name("explorer.js")).read_text("utf-8")


@pytest.fixture(scope="module")
def results(example, tmp_path_factory) -> tuple[dict[str, Any], Path]:
    """Results of two seeds where every target has a kind of failure, and their page."""
    run = tmp_path_factory.mktemp("explorer")
    found = example.make_results(run, samples=12, seeds=(0, 1), hostile=False)
    head = next(m for m in found["metrics"] if m["name"] == "miou")
    found["metrics"] += [{**head, "name": f"targets_{k}", "title": k, "variant": k} for k in KINDS]
    for number, image in enumerate(found["images"]):
        for k, scores in enumerate(image["instances"].values()):
            fate = (number + k) % len(KINDS)
            scores |= {f"targets_{kind}": float(fate == i) for i, kind in enumerate(KINDS)}
    return found, write_report(found, run)


def scores(results: Mapping[str, Any], metric: str, method: str) -> dict[str, float]:
    """Of the first seed, by sample."""
    return {
        i["sample"]: i["scores"][metric] for i in results["images"]
        if (i["method"], i["seed"]) == (method, 0) and isinstance(i["scores"].get(metric), float)
    }  # fmt: skip


def test_every_metric_orders_the_samples(results, probe) -> None:
    data, page = results
    told = probe(page, CHOOSE + """
      const found = [];
      for (const [number, title] of choices("metric")) for (const [of, method] of choices("of"))
        for (const order of ["worst", "best"]) {
          set("sort", order); set("metric", number); set("of", of);
          found.push([title, method, order, rows()]);
        }
      set("sort", "disagree"); set("metric", 0);
      return { found, disagree: [choices("metric")[0][1], rows()] };""")  # fmt: skip
    titles = {m["title"]: m for m in data["metrics"]}
    assert len(told["found"]) == 6 * 7 * 2
    for title, method, order, shown in told["found"]:
        name = "ceiling" if method == "true image" else method
        known = scores(data, titles[title]["name"], name)
        ids = [label.removeprefix("Sample ") for label in shown]
        assert len(ids) == len(set(ids)) == 12
        rising = titles[title]["higher_is_better"] == (order == "worst")
        values = [round(known[i], 4) for i in ids[: len(known)]]  # what has no number stands last
        assert values == sorted(values, reverse=not rising), (title, method, order)
    title, shown = told["disagree"]
    methods = [m["name"] for m in data["methods"] if m["kind"] == "method"]
    columns = [scores(data, titles[title]["name"], m) for m in methods]
    spread = {s["id"]: [c[s["id"]] for c in columns if s["id"] in c] for s in data["samples"]}
    apart = [max(v) - min(v) for label in shown if len(v := spread[label.removeprefix("Sample ")]) > 1]
    assert apart == sorted(apart, reverse=True)


def test_failures_filter_the_samples(results, probe) -> None:
    data, page = results
    told = probe(page, CHOOSE + """
      const found = {};
      for (const [value, name] of choices("fate")) { set("fate", value); found[`fate ${name}`] = rows(); }
      set("fate", "");
      for (const [value, name] of choices("status")) { set("status", value); found[`status ${name}`] = rows(); }
      set("status", "");
      set("text", "mini-0004"); found.text = rows();
      set("text", "no such words"); found.none = [document.getElementById("none").hidden, rows()];
      document.querySelector("#filters [type=reset]").click(); await frame();
      found.reset = rows(); found.tally = document.getElementById("tally").textContent;
      return found;""")  # fmt: skip
    methods = {m["name"] for m in data["methods"] if m["kind"] == "method"}

    def labels(wanted: Any) -> list[str]:
        ids = {i["sample"] for i in data["images"] if i["method"] in methods and i["seed"] == 0 and wanted(i)}
        return [f"Sample {s['id']}" for s in data["samples"] if s["id"] in ids]

    for kind in KINDS:
        expected = labels(lambda i, k=kind: any(s.get(f"targets_{k}") == 1 for s in i["instances"].values()))
        assert told[f"fate {kind}"] == expected
    assert told["status failed"] == labels(lambda i: i["status"] == "failed")
    assert told["status missing"] == labels(lambda i: i["status"] == "missing")
    assert told["status not applicable"] == labels(lambda i: i["status"] == "not_applicable")
    assert told["text"] == ["Sample mini-0004"]
    assert told["none"] == [False, []]
    assert len(told["reset"]) == 12
    assert told["tally"] == "12 of 12"


def test_keys_lead_through_samples_and_pictures(results, probe) -> None:
    told = probe(results[1], CHOOSE + """
      const found = { steps: [] };
      const here = () => document.activeElement.closest(".row")?.getAttribute("aria-label");
      for (const key of ["j", "j", "j", "k"]) {
        press(key); await frame();
        found.steps.push(here());
      }
      const some = (path) => $$(path).length > 0;
      const boxes = () => [some(".boxes rect[stroke-dasharray]"), some(".boxes rect:not([stroke-dasharray])")];
      found.both = boxes();
      press("t"); await frame(); found.noTargets = boxes().concat($$(".boxes rect[stroke-dasharray]").length);
      press("t"); press("d"); await frame(); found.noDetections = [boxes()[0], $$(".boxes text").length > 0];
      press("d"); await frame();
      const picture = $$(".picture").find((p) => p.closest(".row").contains(document.activeElement));
      found.button = picture.tagName;
      picture.click(); await frame();
      const viewer = document.getElementById("viewer");
      const title = () => document.getElementById("viewer-title").textContent;
      found.open = [viewer.open, title()];
      for (const key of ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"]) {
        press(key, viewer);
        found.steps.push(title());
      }
      found.link = viewer.querySelector("a")?.getAttribute("href");
      found.written = (press("t", document.querySelector("[name=text]")), boxes());
      viewer.close(); found.closed = viewer.open;
      return found;""")  # fmt: skip
    rows, views = told["steps"][:4], told["steps"][4:]
    assert rows == ["Sample mini-0000", "Sample mini-0001", "Sample mini-0002", "Sample mini-0001"]
    assert told["both"] == [True, True]
    assert told["noTargets"][2] == 0
    assert told["noDetections"][0] is True
    assert told["button"] == "BUTTON", "Enter and space open what is a button"
    assert told["open"] == [True, "true image mini-0001 seed 0"]
    assert views == [
        "base mini-0001 seed 0", "base mini-0002 seed 0", "true image mini-0002 seed 0", "true image mini-0001 seed 0",
    ]  # fmt: skip
    assert told["link"].startswith("../images/")
    assert (results[1].parent / told["link"]).resolve().is_file()
    assert told["closed"] is False


def test_references_stand_beside_their_phrases(results, probe) -> None:
    told = probe(
        results[1],
        """
      document.querySelector("#rows").scrollIntoView(); await frame();
      const shown = (li) => !!li.querySelector("img.reference[alt=reference]");
      return $$(".row .phrases li").map((li) => [li.textContent, shown(li)]);""",
    )
    assert told
    assert all(shown for _, shown in told)


def test_only_what_is_near_is_drawn(example, probe, tmp_path) -> None:
    data = example.make_results(tmp_path, samples=600, hostile=False)
    told = probe(
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
        if (!middle()?.querySelector(".strip")) throw new Error(`an empty row in sight at ${at}`);
        near.push(Number(middle().getAttribute("aria-label").slice(-4)));
      }
      return { counts, near, rows: $$(".row").length, tall: list.offsetHeight };""",
    )
    assert told["rows"] < 150
    assert told["tall"] > 600 * 200
    assert [round(n / 600, 1) for n in told["near"]] == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.06)
    assert all(0 < n < 40 for n in told["counts"]), told["counts"]


def test_print_shows_what_is_folded_and_what_was_off_screen(results, probe, chromium, tmp_path) -> None:
    told = probe(
        results[1],
        """
      const parts = "header details, #scores details, #plots details, #notes details";
      const folded = () => $$(parts).filter((d) => !d.open).length;
      const before = [folded(), $$(".strip").length];
      window.dispatchEvent(new Event("beforeprint"));
      const printed = [folded(), $$(".strip").length];
      window.dispatchEvent(new Event("afterprint"));
      return { before, printed, after: folded() };""",
    )
    assert told["before"][0] > 0
    assert told["printed"] == [0, 12]
    assert told["after"] == told["before"][0]
    paper = tmp_path / "page.pdf"
    subprocess.run(chromium(results[1], f"--print-to-pdf={paper}"), capture_output=True, timeout=300, check=True)
    assert paper.read_bytes()[:5] == b"%PDF-"


def test_every_row_of_the_table_is_a_column(results, probe) -> None:
    told = probe(
        results[1],
        """
      return $$("#columns label").map((label) => label.textContent);""",
    )
    methods = [m["name"] for m in results[0]["methods"] if m["kind"] == "method"]
    assert told == ["true image", *methods, "floor-shuffled", "floor-blank"]
