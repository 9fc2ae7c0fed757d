"""Parts of the HTML report: pictures, grid data, verdicts, numbers, figures."""

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

Part = Callable[[str], ModuleType]


def picture(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (size, size // 2, 3), dtype=np.uint8)).save(path)


def test_small_pictures_are_embedded_as_they_are(part: Part, tmp_path: Path) -> None:
    picture(tmp_path / "images/aa/x.png", 64)
    found = part("thumbnails").Thumbnails(tmp_path, tmp_path / "report")
    assert found.add("images/aa/x.png") == found.add("images/aa/x.png") == 0
    head, _, body = found.entries[0].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body) == (tmp_path / "images/aa/x.png").read_bytes()
    assert found.sizes == [[32, 64]]
    assert found.link("images/aa/x.png") == "../images/aa/x.png"


def test_large_pictures_are_reduced(part: Part, tmp_path: Path) -> None:
    picture(tmp_path / "x.png", 600)
    found = part("thumbnails").Thumbnails(tmp_path, tmp_path / "report")
    found.add("x.png")
    with Image.open(io.BytesIO(base64.b64decode(found.entries[0].partition(",")[2]))) as image:
        assert image.size == (128, 256)


def test_beyond_the_budget_pictures_lie_beside_the_page(part: Part, tmp_path: Path) -> None:
    for name in ("a b.png", "c.png"):
        picture(tmp_path / name, 32)
    budget = (tmp_path / "a b.png").stat().st_size
    found = part("thumbnails").Thumbnails(tmp_path, tmp_path / "report", budget=budget - 1)
    found.add("a b.png")
    assert found.entries == ["../a%20b.png"]
    assert found.beside == 1


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/passwd", "images/../../secret.png", "a\0b", "text.png", "gone"]
)
def test_what_is_no_picture_of_the_run_counts_as_absent(part: Part, tmp_path: Path, path: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    picture(tmp_path / "secret.png", 8)
    (run / "text.png").write_text("no picture")
    found = part("thumbnails").Thumbnails(run, run / "report")
    assert found.add(path) is None
    assert found.entries == []
    assert found.absent == {path}


def test_grid_data_keeps_reasons_and_never_makes_them_numbers(part: Part, example: ModuleType, tmp_path: Path) -> None:
    results = example.make_results(None, hostile=False)
    results["images"][0]["scores"]["miou"] = float("nan")
    results["images"][1]["scores"]["miou"] = {"unscored": "no targets"}
    view = part("results").Results(results)
    data = part("payload").payload(view, part("thumbnails").Thumbnails(tmp_path, tmp_path / "report"))
    place = [m[0] for m in data["metrics"]].index("miou")
    said = [data["reasons"][score - part("payload").REASON] for score in data["scores"][place][:2]]
    assert said == ["not a finite number", "no targets"]
    text = part("payload").script_json(data)
    assert "NaN" not in text
    assert json.loads(text) == json.loads(json.dumps(data))


def test_grid_data_gives_back_every_score_and_detection(part: Part, example: ModuleType, tmp_path: Path) -> None:
    results = example.make_results(None, hostile=False)
    view = part("results").Results(results)
    data = part("payload").payload(view, part("thumbnails").Thumbnails(tmp_path, tmp_path / "report"))
    at = start = 0
    for x, image in enumerate(results["images"]):
        targets = next(s for s in results["samples"] if s["id"] == image["sample"])["instances"]
        for k, (name, _, _) in enumerate(data["metrics"]):
            columns = [(data["scores"][k][x], image["scores"].get(name))]
            if data["parts"][k]:
                scored = [image["instances"].get(t["id"], {}).get(name) for t in targets]
                columns += zip(data["parts"][k][at : at + len(targets)], scored, strict=True)
            for stored, given in columns:
                if isinstance(given, float):
                    assert stored / 1e4 == pytest.approx(given, abs=5e-5)
                else:
                    assert (stored is None) == (given is None)
        flat = [v for d in image["detections"] for v in d]
        short = data["detections"][6 * start : 6 * (start + data["images"]["d"][x])]
        words = [data["words"][n] for n in short[5::6]]
        assert words == flat[5::6]
        assert [v / 1000 for v in short[4::6]] == pytest.approx(flat[4::6], abs=6e-4)
        at += len(targets)
        start += data["images"]["d"][x]


def test_long_data_is_packed_and_comes_back(part: Part) -> None:
    data = {"words": ["<b>&\u20ac" * 50] * 20_000}
    text, how = part("payload").script_text(data)
    assert how == "deflate"
    assert not set(text) & set("<>&")
    assert json.loads(zlib.decompress(base64.b64decode(text))) == data
    assert part("payload").script_text(["<"]) == ('["\\u003c"]', "")


def test_what_became_of_targets_is_one_kind_each(part: Part, example: ModuleType, tmp_path: Path) -> None:
    results = example.make_results(None, samples=4, hostile=False)
    metric = {**results["metrics"][0], "low": 0.0, "high": 1.0}
    results["metrics"] += [{**metric, "name": f"targets_{k}", "title": k} for k in ("sound", "wrong_class")]
    first = next(i for i in results["images"] if i["instances"])
    for k, scores in enumerate(first["instances"].values()):
        scores.update(targets_sound=float(k > 0), targets_wrong_class=float(k == 0))
    view = part("results").Results(results)
    data = part("payload").payload(view, part("thumbnails").Thumbnails(tmp_path, tmp_path / "report"))
    assert data["kinds"] == ["sound", "wrong class"]
    assert data["fates"][: len(first["instances"])] == [1, *[0] * (len(first["instances"]) - 1)]
    assert set(data["fates"][len(first["instances"]) :]) == {-1}
    assert not part("fates").bars(view)
    results["rows"] += [
        {**results["rows"][0], "metric": f"targets_{k}", "value": v, "low": None, "high": None}
        for k, v in (("sound", 0.75), ("wrong_class", 0.25))
    ]
    drawn = part("fates").bars(part("results").Results(results))
    assert "75%" in drawn
    assert "wrong class" in drawn


@pytest.mark.parametrize(
    ("right", "up", "expected"),
    [(True, True, [(1, 3), (2, 2)]), (False, True, [(0, 2), (1, 3)]), (False, False, [(0, 0)])],
)
def test_the_front_holds_who_is_not_beaten_on_both(part: Part, right: bool, up: bool, expected: Any) -> None:
    points = [(0, 0), (0, 2), (1, 1), (1, 3), (2, 2), (2, 1)]
    assert part("plots").front(points, right, up) == expected


def test_crossed_cells_with_few_samples_are_grey(part: Part, example: ModuleType) -> None:
    results = example.make_results(None, samples=48, hostile=False)
    for sample in results["samples"]:
        sample["strata"] = {"count": sample["strata"]["count"], "size": "small"}
    results["samples"][0]["strata"]["size"] = "large"
    table = part("strata").crossed(part("results").Results(results))
    rows = re.findall(r"<tr>(?!<th scope=\"col\").*?</tr>", table)
    assert [len(re.findall('class="heat', row)) for row in rows] == [4, 0, 4, 4, 4]
    assert rows[1].count('class="few-samples"') == 4
    assert "<bdi>large</bdi>" in rows[1]


def test_true_images_come_first_and_floors_last(part: Part, example: ModuleType, tmp_path: Path) -> None:
    view = part("results").Results(example.make_results(None, hostile=False))
    data = part("payload").payload(view, part("thumbnails").Thumbnails(tmp_path, tmp_path / "report"))
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
def test_bins_stand_in_their_natural_order(part: Part, values: list[str], expected: list[str]) -> None:
    assert part("payload").ordered(values) == expected


def verdicts(part: Part, example: ModuleType, pairs: list[dict[str, Any]]) -> list[str]:
    results = {**example.make_results(None, samples=1, hostile=False), "pairs": pairs}
    return [html.unescape(re.sub("<[^>]+>", "", v)) for v in part("verdict").verdicts(part("results").Results(results))]


def pair(metric: str, difference: float | None, half: float = 0.04, p: float | None = 0.001) -> dict[str, Any]:
    low, high = (None, None) if difference is None else (difference - half, difference + half)
    return {"a": "base", "b": "ilgd", "metric": metric, "difference": difference, "low": low, "high": high, "p": p,
            "p_holm": p, "n": 128}  # fmt: skip


def test_the_winner_is_the_subject_of_the_verdict(part: Part, example: ModuleType) -> None:
    assert verdicts(part, example, [pair("ap50", -0.12), pair("clip_iqa", 0.01, p=0.6)]) == [
        "ilgd places better than base: AP50 +0.120 [+0.080, +0.160], p 0.001. "
        "Indistinguishable: image quality (CLIP-IQA)."
    ]


def test_gains_and_losses_are_both_told(part: Part, example: ModuleType) -> None:
    found = verdicts(part, example, [pair("ap50", -0.12), pair("miou", -0.1), pair("clip_t", 0.06, p=0.0001)])
    assert found == [
        "ilgd places better than base: AP50 +0.120 [+0.080, +0.160], p 0.001, mIoU +0.100 [+0.060, +0.140], p 0.001; "
        "it follows the text worse: CLIP-T \u22120.060 [\u22120.100, \u22120.020], p < 0.001."
    ]


def test_an_interval_off_zero_is_not_enough_when_holm_disagrees(part: Part, example: ModuleType) -> None:
    assert verdicts(part, example, [pair("ap50", 0.12, p=0.08)]) == [
        "base and ilgd are indistinguishable: placement (AP50)."
    ]


def test_what_was_not_compared_is_said(part: Part, example: ModuleType) -> None:
    one = pair("dino", None, p=None)
    told = verdicts(part, example, [one])
    assert told == ["Compared with no other method, for want of scores: base and ilgd."]
    third = {**pair("ap50", 0.2), "a": "base", "b": "instance-diffusion"}
    fourth = {**pair("ap50", 0.2), "a": "ilgd", "b": "instance-diffusion"}
    told = verdicts(part, example, [one, third, fourth])
    assert [t.partition(":")[0] for t in told[:2]] == [
        "base places better than instance-diffusion", "ilgd places better than instance-diffusion",
    ]  # fmt: skip
    assert told[2:] == ["base and ilgd are not compared. Not compared: DINO."]


def test_lower_is_better_turns_the_judgement(part: Part, example: ModuleType) -> None:
    results = {**example.make_results(None, samples=1, hostile=False), "pairs": [pair("extra_rate", 0.5)]}
    results["metrics"] = [m for m in results["metrics"] if m["name"] == "extra_rate"]
    found = part("verdict").verdicts(part("results").Results(results))
    assert found[0].startswith("<strong><bdi>ilgd</bdi></strong> does better than <strong><bdi>base</bdi></strong>")
    assert "\u22120.500" in found[0]


def test_values_above_the_true_images_are_pointed_out(part: Part, example: ModuleType) -> None:
    results = example.make_results(None, hostile=False)
    row = next(r for r in results["rows"] if (r["method"], r["metric"]) == ("ilgd", "clip_t"))
    row["value"] = 0.9
    said = part("verdict").cautions(part("results").Results(results))
    assert "Above the true images on <bdi>CLIP-T</bdi>: <bdi>ilgd</bdi>." in said


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("layout_and_retouch@no_mis", "layout_<wbr>and_<wbr>retouch<wbr>@no_<wbr>mis"),
        ("@a__b_", "@a__<wbr>b_"),
        ("a_<b>@'c'", "a_<wbr>&lt;b&gt;<wbr>@&#x27;c&#x27;"),
    ],
)
def test_names_may_go_on_between_words(part: Part, name: str, expected: str) -> None:
    assert part("text").name(name) == f"<bdi>{expected}</bdi>"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (-0.0001, "0.000"), (-0.5, "\u22120.500"), (123.456, "123.5")],
)
def test_numbers_have_three_decimals_and_a_minus_sign(part: Part, value: float, text: str) -> None:
    assert part("text").number(value) == text


def test_figures_follow_the_theme_and_carry_their_texts(part: Part, example: ModuleType) -> None:
    results = part("results").Results(example.make_results(None))
    found = part("plots").figures(results)
    groups = [group for group, _, _ in found]
    assert [groups.count(g) for g in ("dots", "scatter", "strata")] == [6, 4, 4]
    for _, _, svg in found:
        assert " style=" not in svg
        assert "currentColor" in svg
        assert "#010203" not in svg
    dots = next(svg for group, caption, svg in found if group == "dots" and "DINO" in caption)
    assert "not scored" in dots
    strata = next(svg for group, caption, svg in found if group == "strata" and "repeated" in caption)
    assert "n 1" in strata
