"""Leaderboards: what they compute, what they refuse, and that every fault is found."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layoutmark.cli.main import main
from layoutmark.errors import LayoutmarkError
from layoutmark.leaderboard import board_protocol, build_board, check_board, open_board, submit
from layoutmark.leaderboard.entry import pack, read_packed
from layoutmark.leaderboard.rules import faults_of
from layoutmark.metrics import ASIDE, HEADLINE, all_metrics
from layoutmark.registry import Registry
from layoutmark.store import RunFolder


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory) -> Path:
    """A board with the tiny run's rows; tests change copies of it."""
    folder = tmp_path_factory.mktemp("boards") / "tiny"
    submit(RunFolder(tiny.folder), folder, Registry([tiny.methods]))
    build_board(folder)
    return folder


@pytest.fixture
def board(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "tiny"))


@pytest.fixture
def run(tiny, tmp_path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(tiny.folder, tmp_path / "run")))


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    packed = path.suffix == ".gz"
    data = read_packed(path) if packed else json.loads(path.read_text("utf-8"))
    changed = change(data) or data
    path.write_bytes(pack(changed)) if packed else path.write_text(json.dumps(changed), "utf-8")


def test_a_board_says_what_the_run_said(tiny, board) -> None:
    results = RunFolder(tiny.folder).read_results()
    table = json.loads((board / "board.json").read_text("utf-8"))
    told = {(r["method"], r["metric"]): r for r in table["tracks"]["authors"]["rows"]}
    assert {m for m, _ in told} == {m["name"] for m in results["methods"]}
    for row in results["rows"]:
        if (key := (row["method"], row["metric"])) in told:
            for part in ("value", "low", "high"):
                assert told[key][part] == (None if row[part] is None else pytest.approx(row[part], abs=1e-6))
    pairs = {(p["a"], p["b"], p["metric"]): p["difference"] for p in table["tracks"]["authors"]["pairs"]}
    for pair in results["pairs"]:
        expected = pair["difference"]
        found = pairs[pair["a"], pair["b"], pair["metric"]]
        assert found == (None if expected is None else pytest.approx(expected, abs=1e-6))


def test_a_fresh_board_is_right_and_building_again_changes_nothing(board) -> None:
    assert check_board(board) == []
    before = {name: (board / name).read_bytes() for name in ("README.md", "index.html", "board.json")}
    build_board(board)
    assert {name: (board / name).read_bytes() for name in before} == before


def test_scorers_that_no_headline_metric_reads_change_no_protocol(run: RunFolder) -> None:
    """Else a board would end with the first mask."""
    parts = run.read_results()["protocol"]["parts"]
    plain = {k: {n: v for n, v in parts["stack"][k].items() if n not in ASIDE} for k in ("scorers", "names")}

    def with_masks(**given: str) -> dict[str, Any]:
        return {**parts, "stack": {**parts["stack"], **{k: {**held, **given} for k, held in plain.items()}}}

    versions = {name: parts["metrics"][name] for name in HEADLINE}
    found = {board_protocol(with_masks(**dict.fromkeys(ASIDE, x)), versions)["hash"] for x in "ab"}
    assert found == {board_protocol(with_masks(), versions)["hash"]}
    assert board_protocol(with_masks(detector="another"), versions)["hash"] not in found
    for x in "ab":
        offered = {m.info.name: m.info for m in all_metrics({**plain["names"], **dict.fromkeys(ASIDE, x)})}
        assert [offered[name] for name in HEADLINE] == [m.info for m in all_metrics(plain["names"])][: len(HEADLINE)]


def remove_middle(board: Path) -> None:
    shutil.rmtree(sorted((board / "entries").iterdir())[2])


def rename_last(board: Path) -> None:
    last = sorted((board / "entries").iterdir())[-1]
    last.rename(last.with_name(f"0009-{last.name[5:]}"))


def entry(board: Path, name: str = "paint") -> Path:
    return next(p for p in (board / "entries").iterdir() if p.name.partition("-")[2] == name)


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "drift": (lambda b: (b / "README.md").write_text("better"), r"README\.md: not what the entries give"),
    "no table": (lambda b: (b / "index.html").unlink(), r"index\.html: missing"),
    "missing entry": (remove_middle, "missing before|does not follow"),
    "a gap": (rename_last, "missing before"),
    "edited scores": (
        lambda b: edit(entry(b) / "images.json.gz", lambda d: d[0]["scores"].update(miou=1.0)),
        r"paint: images\.json\.gz edited after submission",
    ),
    "edited facts": (
        lambda b: edit(entry(b) / "entry.json", lambda d: d["row"].update(version="9")),
        "does not follow the entry before it",
    ),
    "edited samples": (
        lambda b: edit(b / "samples.json.gz", lambda d: d[0].update(prompt="x")), r"samples\.json\.gz edited"
    ),
    "other protocol": (
        lambda b: edit(entry(b) / "entry.json", lambda d: d["protocol"]["parts"].update(seeds=[7])),
        "protocol does not have the digest",
    ),
    "no detections": (lambda b: (entry(b) / "detections.parquet").unlink(), "no detections.parquet"),
    "broken entry": (lambda b: (entry(b) / "entry.json").write_text("{"), "expected entry.json as"),
    "newer format": (
        lambda b: edit(entry(b) / "entry.json", lambda d: d.update(format="layoutmark-entry-9")),
        "format layoutmark-entry-9",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_found(board, name: str) -> None:
    spoil, message = FAULTS[name]
    spoil(board)
    import re

    found = check_board(board)
    assert any(re.search(message, fault) for fault in found), found


def test_later_entries_take_the_place_of_earlier_ones(tiny, board) -> None:
    run = RunFolder(tiny.folder)
    first = open_board(board)
    submit(run, board, Registry([tiny.methods]), ["paint"])
    table = build_board(board)
    assert check_board(board) == []
    assert len(table["chain"]) == len(first.entries) + 1
    assert [m["entry"] for m in table["tracks"]["authors"]["methods"] if m["name"] == "paint"] == [len(table["chain"])]
    (line,) = table["history"]
    assert (line["name"], len(line["entries"]), line["changes"]) == ("paint", 2, [])


def change_results(run: RunFolder, change: Callable[[Any], Any]) -> None:
    results = run.read_results()
    change(results)
    run.write_results(results)


def row(results: Any, name: str = "paint") -> Any:
    return next(m for m in results["methods"] if m["name"] == name)


def lost(results: Any) -> None:
    row(results)["counts"].update(failed=1, ok=row(results)["counts"]["ok"] - 1)
    image = next(i for i in results["images"] if i["method"] == "paint")
    image.update(status="failed", reason="no memory", image=None)
    image["scores"] = {name: {"unscored": "failed"} for name in image["scores"]}


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "lost images": (lost, "incomplete: 1 of 3 images failed"),
    "counts by hand": (lambda r: row(r)["counts"].update(failed=1), "counts that are not those of its images"),
    "images by hand": (
        lambda r: r["images"].remove(next(i for i in r["images"] if i["method"] == "paint")),
        "incomplete: 1 of 3 images that the board asks for are not stored",
    ),
    "scores by hand": (
        lambda r: next(i for i in r["images"] if i["method"] == "paint")["scores"].update(clip_iqa=7.0),
        "clip_iqa of 1 images is outside 0 to 1",
    ),
    "untrained": (
        lambda r: next(i for i in r["images"] if i["method"] == "paint")["notes"].update(untrained="yes"),
        "untrained",
    ),
    "changed settings": (lambda r: row(r)["settings"].update(boxes=False), "undeclared deviation: settings boxes"),
    "other seeds": (lambda r: r["protocol"]["parts"].update(seeds=[3]), "that of leaderboard tiny"),
    "other samples": (lambda r: r["samples"][0].update(prompt="x"), "other samples"),
}


TORN: dict[str, Callable[[Any], Any]] = {
    "no times": lambda r: r.update(times=None),
    "no code": lambda r: row(r).pop("code"),
    "settings as text": lambda r: row(r).update(settings="odd"),
    "no names of scorers": lambda r: r["protocol"]["parts"]["stack"].pop("names"),
}


@pytest.mark.parametrize("name", TORN)
def test_results_with_a_part_torn_out_are_refused(tiny, tmp_path, run, name: str) -> None:
    change_results(run, TORN[name])
    with pytest.raises(LayoutmarkError, match=r"submission of run 'tiny': found .+; expected .+\. .+"):
        submit(run, tmp_path / "new", Registry([tiny.methods]))
    assert not (tmp_path / "new").exists()


def test_a_title_with_quotes_makes_a_card_that_can_be_read(tiny, tmp_path, run) -> None:
    change_results(run, lambda r: r["suite"].update(title='a "b"\n\\ \U0001f418'))
    submit(run, tmp_path / "new", Registry([tiny.methods]))
    assert tomllib.loads((tmp_path / "new" / "board.toml").read_text("utf-8"))["title"].startswith(
        'a "b"\n\\ \U0001f418 on'
    )
    build_board(tmp_path / "new")
    assert check_board(tmp_path / "new") == []


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_not_enter_leaves_no_trace(tiny, board, run, name: str) -> None:
    change, message = REFUSED[name]
    change_results(run, change)
    before = sorted((board / "entries").iterdir())
    with pytest.raises(LayoutmarkError, match=message):
        submit(run, board, Registry([tiny.methods]))
    assert sorted((board / "entries").iterdir()) == before


def test_further_strata_do_not_end_a_board(tiny, board, run) -> None:
    change_results(run, lambda r: [s["strata"].update(weather="rain") for s in r["samples"]])
    submit(run, board, Registry([tiny.methods]), ["paint"])
    build_board(board)
    assert check_board(board) == []


def test_declared_changes_may_enter_and_are_told(tiny, board, run) -> None:
    change_results(run, lambda r: row(r)["settings"].update(boxes=False))
    submit(run, board, Registry([tiny.methods]), ["paint"], because="an ablation | <b>")
    build_board(board)
    assert check_board(board) == []
    assert r"boxes = False (an ablation \| \<b\>)" in (board / "README.md").read_text("utf-8")
    assert "an ablation | &lt;b&gt;" in (board / "index.html").read_text("utf-8")


def test_hostile_names_stay_text(tiny, board, run) -> None:
    evil = "paint|<script>alert(1)</script>\u202e"

    def rename(results: Any) -> None:
        row(results)["name"] = evil
        for image in results["images"]:
            image["method"] = evil if image["method"] == "paint" else image["method"]
        for part in (*results["rows"], *results["pairs"]):
            part.update({k: evil for k, v in part.items() if v == "paint"})
        results["ties"] = {}
        results["times"]["per_image_seconds"] = {}

    change_results(run, rename)
    found = run.read_detections()
    found["method"] = found["method"].astype(str).replace("paint", evil)
    found.to_parquet(run.path / "detections.parquet")
    submit(run, board, Registry([tiny.methods]), [evil])
    build_board(board)
    page, text = ((board / name).read_text("utf-8") for name in ("index.html", "README.md"))
    assert "<script" not in page
    assert "<script" not in text.replace(r"\<", "")
    assert "\u202e" not in page + text
    assert check_board(board) == []


@pytest.mark.parametrize(
    ("text", "found"), [("[match]\nsteps = 25\n", "unknown key 'match'"), ("matched = 3\n", "matched is no table")]
)
def test_a_card_that_says_something_else_is_refused(board, text: str, found: str) -> None:
    (board / "board.toml").write_text(text)
    with pytest.raises(LayoutmarkError, match=rf"leaderboard tiny, board\.toml: found {found}; expected title, and"):
        build_board(board)
    assert main(["leaderboard", "check", str(board)]) == 1


def test_the_matched_track_asks_for_its_settings(tiny, board) -> None:
    run = RunFolder(tiny.folder)
    with pytest.raises(LayoutmarkError, match="names no settings"):
        submit(run, board, Registry([tiny.methods]), ["paint"], "matched")
    (board / "board.toml").write_text("[matched]\nboxes = false\n")
    with pytest.raises(LayoutmarkError, match="not matched: boxes"):
        submit(run, board, Registry([tiny.methods]), ["paint"], "matched")
    submit(run, board, Registry([tiny.methods]), ["paint@blind"], "matched")
    table = build_board(board)
    assert set(table["tracks"]) == {"authors", "matched"}
    names = {t: [m["name"] for m in part["methods"]] for t, part in table["tracks"].items()}
    assert {"paint", "paint@blind"} < set(names["authors"])
    assert [n for n in names["matched"] if n.startswith("paint")] == ["paint@blind"]
    text, page = ((board / name).read_text("utf-8") for name in ("README.md", "index.html"))
    for told, head in ((text, "## Matched settings"), (page, "<h2>Matched settings</h2>")):
        own, matched = told.split(head)
        assert "Settings of every method here: boxes = false." in matched
        assert "Settings of every" not in own
    rows = [line.split("|")[1].strip() for line in text.partition("## Matched settings")[2].splitlines() if "|" in line]
    assert [r for r in rows if r.startswith("paint")] == ["paint@blind"]
    assert '<th scope="row">paint<wbr>@blind</th>' in page
    assert check_board(board) == []


def test_times_of_a_busy_machine_may_be_left_out(tiny, board) -> None:
    paths = ["--methods-path", str(tiny.methods)]
    assert main(["leaderboard", "submit", f"{tiny.folder}:paint", "--board", str(board), "--no-times", *paths]) == 0
    seconds = {m["name"]: m["seconds_per_image"] for m in build_board(board)["tracks"]["authors"]["methods"]}
    assert seconds["paint"] is None
    assert seconds["paint@blind"] is not None
    assert "drawn on" in (board / "README.md").read_text("utf-8")
    assert check_board(board) == []


def test_a_method_without_a_matched_setting_has_not_got_it(tiny, board) -> None:
    (board / "board.toml").write_text("[matched]\nboxes = false\nsteps = 25\n")
    with pytest.raises(LayoutmarkError, match="not matched: steps"):
        submit(RunFolder(tiny.folder), board, Registry([tiny.methods]), ["paint@blind"], "matched")


def test_better_than_the_truth_is_implausible(board) -> None:
    from layoutmark.leaderboard.check import _implausible

    table = json.loads((board / "board.json").read_text("utf-8"))
    assert _implausible(table) == []
    rows = table["tracks"]["authors"]["rows"]
    next(r for r in rows if (r["method"], r["metric"]) == ("paint", "ap50")).update(low=1.0)
    next(r for r in rows if (r["method"], r["metric"]) == ("ceiling", "ap50")).update(high=0.9)
    assert _implausible(table) == ["paint (authors): implausible ap50: 1.000 or more, true pictures 0.900 at most"]


def test_rules_name_what_is_missing() -> None:
    facts = {"row": {"counts": {"requested": 2}, "settings": {}, "kind": "method", "preset": "", "deviations": []},
             "track": "authors", "overrides": {}, "because": ""}  # fmt: skip
    assert faults_of(facts, [{"notes": {}}], {}) == ["incomplete: 1 images stored, 2 requested"]


def test_the_commands(at_tiny, tmp_path, capsys) -> None:
    place = str(tmp_path / "mini-mini")
    paths = ["--methods-path", str(at_tiny.methods)]
    assert main(["leaderboard", "submit", "tiny", "--board", place, *paths]) == 0
    assert "entries/0001-ceiling" in capsys.readouterr().out
    assert main(["leaderboard", "check", place]) == 1
    assert "README.md: missing" in capsys.readouterr().out
    assert main(["leaderboard", "build", place]) == 0
    assert main(["leaderboard", "check", place]) == 0
    assert main(["leaderboard", "check", str(tmp_path / "nowhere")]) == 3
