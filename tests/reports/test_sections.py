"""Modules of the HTML report: thumbnails, explorer data, verdicts, texts, figures."""

import base64
import html
import io
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

LoadModule = Callable[[str], ModuleType]


@pytest.fixture
def make_payload(report_module: LoadModule, tmp_path: Path) -> Callable[[Any], dict[str, Any]]:
    """`make_payload(view)`: the explorer data of a run without image files."""

    def make(view: Any) -> dict[str, Any]:
        thumbnails = report_module("thumbnails").Thumbnails(tmp_path, tmp_path / "report")
        data: dict[str, Any] = report_module("payload").make_payload(view, thumbnails)
        return data

    return make


def write_image(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (size, size // 2, 3), dtype=np.uint8)).save(path)


def test_small_images_are_embedded_unchanged(report_module: Any, tmp_path: Path) -> None:
    write_image(tmp_path / "images/aa/x.png", 64)
    thumbnails = report_module("thumbnails").Thumbnails(tmp_path, tmp_path / "report")
    assert thumbnails.add("images/aa/x.png") == thumbnails.add("images/aa/x.png") == 0
    head, _, body = thumbnails.uris[0].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body) == (tmp_path / "images/aa/x.png").read_bytes()
    assert thumbnails.sizes == [[32, 64]]
    assert thumbnails.link("images/aa/x.png") == "../images/aa/x.png"


def test_large_images_are_reduced(report_module: Any, tmp_path: Path) -> None:
    write_image(tmp_path / "x.png", 600)
    thumbnails = report_module("thumbnails").Thumbnails(tmp_path, tmp_path / "report")
    thumbnails.add("x.png")
    with Image.open(io.BytesIO(base64.b64decode(thumbnails.uris[0].partition(",")[2]))) as image:
        assert image.size == (128, 256)


def test_images_beyond_the_budget_are_linked(report_module: Any, tmp_path: Path) -> None:
    for name in ("a b.png", "c.png"):
        write_image(tmp_path / name, 32)
    file_bytes = (tmp_path / "a b.png").stat().st_size
    thumbnails = report_module("thumbnails").Thumbnails(tmp_path, tmp_path / "report", max_bytes=file_bytes - 1)
    thumbnails.add("a b.png")
    assert thumbnails.uris == ["../a%20b.png"]
    assert thumbnails.linked_count == 1


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/passwd", "images/../../secret.png", "a\0b", "text.png", "gone"]
)
def test_paths_that_are_not_images_of_the_run_are_unreadable(report_module: Any, tmp_path: Path, path: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    write_image(tmp_path / "secret.png", 8)
    (run / "text.png").write_text("not an image")
    thumbnails = report_module("thumbnails").Thumbnails(run, run / "report")
    assert thumbnails.add(path) is None
    assert thumbnails.uris == []
    assert thumbnails.unreadable == {path}


def test_payload_keeps_reasons_apart_from_scores(report_module: Any, make_payload: Any, example: Any) -> None:
    results = example.make_results(None, hostile=False)
    results["images"][0]["scores"]["miou"] = float("nan")
    results["images"][1]["scores"]["miou"] = {"unscored": "no targets"}
    view = report_module("results").Results(results)
    data = make_payload(view)
    metric = [m[0] for m in data["metrics"]].index("miou")
    offset = report_module("payload").REASON_OFFSET
    reasons = [data["reasons"][score - offset] for score in data["scores"][metric][:2]]
    assert reasons == ["not a finite number", "no targets"]
    text = report_module("payload").script_json(data)
    assert "NaN" not in text
    assert json.loads(text) == json.loads(json.dumps(data))


def test_payload_contains_every_score_and_detection(report_module: Any, make_payload: Any, example: Any) -> None:
    results = example.make_results(None, hostile=False)
    view = report_module("results").Results(results)
    data = make_payload(view)
    first_target = first_detection = 0
    for x, image in enumerate(results["images"]):
        targets = next(s for s in results["samples"] if s["id"] == image["sample"])["instances"]
        for k, (name, _, _) in enumerate(data["metrics"]):
            pairs = [(data["scores"][k][x], image["scores"].get(name))]
            if data["targetScores"][k]:
                scores = [image["instances"].get(t["id"], {}).get(name) for t in targets]
                encoded = data["targetScores"][k][first_target : first_target + len(targets)]
                pairs += zip(encoded, scores, strict=True)
            for code, score in pairs:
                if isinstance(score, float):
                    assert code / 1e4 == pytest.approx(score, abs=5e-5)
                else:
                    assert (code is None) == (score is None)
        flat = [v for d in image["detections"] for v in d]
        codes = data["detections"][6 * first_detection : 6 * (first_detection + data["images"]["d"][x])]
        assert [data["labels"][n] for n in codes[5::6]] == flat[5::6]
        assert [v / 1000 for v in codes[4::6]] == pytest.approx(flat[4::6], abs=6e-4)
        first_target += len(targets)
        first_detection += data["images"]["d"][x]


def test_long_data_is_compressed_without_loss(report_module: Any) -> None:
    data = {"labels": ["<b>&\u20ac" * 50] * 20_000}
    text, packing = report_module("payload").pack_script_data(data)
    assert packing == "deflate"
    assert not set(text) & set("<>&")
    assert json.loads(zlib.decompress(base64.b64decode(text))) == data
    assert report_module("payload").pack_script_data(["<"]) == ('["\\u003c"]', "")


def test_every_target_has_one_outcome(report_module: Any, make_payload: Any, example: Any) -> None:
    results = example.make_results(None, samples=4, hostile=False)
    metric = {**results["metrics"][0], "low": 0.0, "high": 1.0}
    results["metrics"] += [{**metric, "name": f"targets_{k}", "title": k} for k in ("sound", "wrong_class")]
    first = next(i for i in results["images"] if i["instances"])
    for k, scores in enumerate(first["instances"].values()):
        scores.update(targets_sound=float(k > 0), targets_wrong_class=float(k == 0))
    view = report_module("results").Results(results)
    data = make_payload(view)
    assert data["outcomeNames"] == ["sound", "wrong class"]
    assert data["targetOutcomes"][: len(first["instances"])] == [1, *[0] * (len(first["instances"]) - 1)]
    assert set(data["targetOutcomes"][len(first["instances"]) :]) == {-1}
    assert report_module("outcomes").outcome_figures(view) == []
    results["rows"] += [
        {**results["rows"][0], "metric": f"targets_{k}", "value": v, "low": None, "high": None}
        for k, v in (("sound", 0.75), ("wrong_class", 0.25))
    ]
    [figure] = report_module("outcomes").outcome_figures(report_module("results").Results(results))
    assert "75%" in figure.svg
    assert "wrong class" in figure.svg


@pytest.mark.parametrize(
    ("higher_x", "higher_y", "expected"),
    [(True, True, [(1, 3), (2, 2)]), (False, True, [(0, 2), (1, 3)]), (False, False, [(0, 0)])],
)
def test_the_pareto_front_holds_points_that_are_not_beaten(
    report_module: Any, higher_x: bool, higher_y: bool, expected: Any
) -> None:
    points = [(0, 0), (0, 2), (1, 1), (1, 3), (2, 2), (2, 1)]
    assert report_module("plots").pareto_front(points, higher_x, higher_y) == expected


def test_crossed_cells_with_few_samples_are_grey(render_section: Any, example: ModuleType) -> None:
    results = example.make_results(None, samples=48, hostile=False)
    for sample in results["samples"]:
        sample["strata"] = {"count": sample["strata"]["count"], "size": "small"}
    results["samples"][0]["strata"]["size"] = "large"
    html = render_section("strata.html", results)
    rows = re.findall(r"<tr>(?=<th scope=\"row\").*?</tr>", html)
    assert [len(re.findall('class="heat', row)) for row in rows] == [4, 0, 4, 4, 4]
    assert rows[1].count('class="few-samples"') == 4
    assert "<bdi>large</bdi>" in rows[1]


def test_true_images_come_first_and_floors_last(report_module: Any, make_payload: Any, example: Any) -> None:
    view = report_module("results").Results(example.make_results(None, hostile=False))
    data = make_payload(view)
    assert [c["kind"] for c in data["columns"]] == ["truth", *["method"] * 4, "reference", "reference"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["10", "2", "1"], ["1", "2", "10"]),
        (["5+", "1-2", "3-4"], ["1-2", "3-4", "5+"]),
        (["large", "small"], ["small", "large"]),
        (["yes", "no"], ["no", "yes"]),
        (["wood", "air"], ["wood", "air"]),
    ],
)
def test_bins_are_in_their_natural_order(report_module: Any, values: list[str], expected: list[str]) -> None:
    assert report_module("bins").sort_bins(values) == expected


@pytest.fixture
def verdicts(report_module: Any, example: ModuleType) -> Callable[..., list[str]]:
    """`verdicts(pairs)`: the sentences on these paired differences, as plain text."""
    template = report_module("page_templates")._environment().get_template("verdicts.html")

    def render(pairs: list[dict[str, Any]], **changes: Any) -> list[str]:
        results = {**example.make_results(None, samples=1, hostile=False), "pairs": pairs, **changes}
        items = report_module("verdicts").list_verdicts(report_module("results").Results(results))
        return [html.unescape(re.sub("<[^>]+>", "", template.module.verdict_text(item))) for item in items]

    return render


def pair(metric: str, difference: float | None, half: float = 0.04, p: float | None = 0.001) -> dict[str, Any]:
    low, high = (None, None) if difference is None else (difference - half, difference + half)
    return {"a": "base", "b": "ilgd", "metric": metric, "difference": difference, "low": low, "high": high, "p": p,
            "p_holm": p, "n": 128}  # fmt: skip


def test_the_winner_is_the_subject_of_the_verdict(verdicts: Any) -> None:
    assert verdicts([pair("ap50", -0.12), pair("clip_iqa", 0.01, p=0.6)]) == [
        "ilgd places objects better than base: AP50 +0.120 [+0.080, +0.160], p 0.001. "
        "Indistinguishable: image quality (CLIP-IQA)."
    ]


def test_gains_and_losses_are_both_reported(verdicts: Any) -> None:
    assert verdicts([pair("ap50", -0.12), pair("miou", -0.1), pair("clip_t", 0.06, p=0.0001)]) == [
        "ilgd places objects better than base: AP50 +0.120 [+0.080, +0.160], p 0.001, "
        "mIoU +0.100 [+0.060, +0.140], p 0.001; "
        "it follows the text worse: CLIP-T \u22120.060 [\u22120.100, \u22120.020], p < 0.001."
    ]


def test_an_interval_off_zero_is_not_enough_when_holm_disagrees(verdicts: Any) -> None:
    assert verdicts([pair("ap50", 0.12, p=0.08)]) == ["base and ilgd are indistinguishable: placement (AP50)."]


def test_missing_comparisons_are_reported(verdicts: Any) -> None:
    unscored = pair("dino", None, p=None)
    assert verdicts([unscored]) == ["Not compared with any other method, because scores are missing: base and ilgd."]
    third = {**pair("ap50", 0.2), "a": "base", "b": "instance-diffusion"}
    fourth = {**pair("ap50", 0.2), "a": "ilgd", "b": "instance-diffusion"}
    sentences = verdicts([unscored, third, fourth])
    assert [s.partition(":")[0] for s in sentences[:2]] == [
        "base places objects better than instance-diffusion", "ilgd places objects better than instance-diffusion",
    ]  # fmt: skip
    assert sentences[2:] == ["base and ilgd were not compared. Not compared: DINO."]


def test_lower_is_better_reverses_the_verdict(verdicts: Any, example: ModuleType) -> None:
    metrics = [m for m in example.make_results(None, samples=1)["metrics"] if m["name"] == "extra_rate"]
    [sentence] = verdicts([pair("extra_rate", 0.5)], metrics=metrics)
    assert sentence.startswith("ilgd does better than base: ")
    assert "\u22120.500" in sentence


def test_values_above_the_true_images_are_reported(report_module: Any, example: ModuleType) -> None:
    results = example.make_results(None, hostile=False)
    row = next(r for r in results["rows"] if (r["method"], r["metric"]) == ("ilgd", "clip_t"))
    row["value"] = 0.9
    cautions = report_module("verdicts").list_cautions(report_module("results").Results(results))
    assert "Above the true images on <bdi>CLIP-T</bdi>: <bdi>ilgd</bdi>." in cautions


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("layout_and_retouch@no_mis", "layout_<wbr>and_<wbr>retouch<wbr>@no_<wbr>mis"),
        ("@a__b_", "@a__<wbr>b_"),
        ("a_<b>@'c'", "a_<wbr>&lt;b&gt;<wbr>@&#39;c&#39;"),
    ],
)
def test_names_may_wrap_between_words(report_module: Any, name: str, expected: str) -> None:
    assert report_module("text").name_html(name) == f"<bdi>{expected}</bdi>"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (-0.0001, "0.000"), (-0.5, "\u22120.500"), (123.456, "123.5")],
)
def test_numbers_have_three_decimals_and_a_minus_sign(report_module: Any, value: float, text: str) -> None:
    assert report_module("text").format_number(value) == text


def test_figures_follow_the_theme_and_contain_their_texts(report_module: Any, example: ModuleType) -> None:
    results = report_module("results").Results(example.make_results(None))
    figures = [
        *report_module("plots").headline_figures(results), *report_module("stratum_plots").stratum_figures(results),
    ]  # fmt: skip
    groups = [figure.group for figure in figures]
    assert [groups.count(g) for g in ("intervals", "trade-offs", "strata")] == [6, 4, 4]
    for figure in figures:
        assert " style=" not in figure.svg
        assert "currentColor" in figure.svg
        assert "#010203" not in figure.svg
    dino = next(f for f in figures if f.group == "intervals" and "DINO" in f.title)
    assert "not scored" in dino.svg
    repeated = next(f for f in figures if f.group == "strata" and "repeated" in f.title)
    assert "n 1" in repeated.svg
