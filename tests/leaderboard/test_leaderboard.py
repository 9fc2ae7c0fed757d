"""Leaderboards: computed tables, refused submissions, and the detection of every problem."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layoutmark.cli.main import main
from layoutmark.errors import LayoutmarkError
from layoutmark.leaderboard import build_board, check_board, make_board_protocol, open_board, submit
from layoutmark.leaderboard.check import _check_plausibility
from layoutmark.leaderboard.entry import pack_json, read_packed_json
from layoutmark.leaderboard.rules import find_rule_violations
from layoutmark.metrics import HEADLINE_METRICS, NON_HEADLINE_SCORERS, all_metrics
from layoutmark.registry import Registry
from layoutmark.store import RunFolder


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory) -> Path:
    """A board with the rows of the tiny run; tests change copies of it."""
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
    data = read_packed_json(path) if packed else json.loads(path.read_text("utf-8"))
    changed = change(data) or data
    path.write_bytes(pack_json(changed)) if packed else path.write_text(json.dumps(changed), "utf-8")


def test_a_board_has_the_scores_of_the_run(tiny, board) -> None:
    results = RunFolder(tiny.folder).read_results()
    table = json.loads((board / "board.json").read_text("utf-8"))
    board_rows = {(r["method"], r["metric"]): r for r in table["tracks"]["authors"]["rows"]}
    assert {m for m, _ in board_rows} == {m["name"] for m in results["methods"]}
    for row in results["rows"]:
        if (key := (row["method"], row["metric"])) in board_rows:
            for field in ("value", "low", "high"):
                expected = None if row[field] is None else pytest.approx(row[field], abs=1e-6)
                assert board_rows[key][field] == expected
    pairs = {(p["a"], p["b"], p["metric"]): p["difference"] for p in table["tracks"]["authors"]["pairs"]}
    for pair in results["pairs"]:
        expected = pair["difference"]
        assert pairs[pair["a"], pair["b"], pair["metric"]] == (
            None if expected is None else pytest.approx(expected, abs=1e-6)
        )


def test_a_new_board_has_no_problems_and_rebuilding_changes_nothing(board) -> None:
    assert check_board(board) == []
    before = {name: (board / name).read_bytes() for name in ("README.md", "index.html", "board.json")}
    build_board(board)
    assert {name: (board / name).read_bytes() for name in before} == before


def test_scorers_that_no_headline_metric_uses_do_not_change_the_protocol(run: RunFolder) -> None:
    """Otherwise a board would end with the first mask scorer."""
    parts = run.read_results()["protocol"]["parts"]
    plain = {
        k: {n: v for n, v in parts["stack"][k].items() if n not in NON_HEADLINE_SCORERS} for k in ("scorers", "names")
    }

    def with_scorers(**scorers: str) -> dict[str, Any]:
        return {**parts, "stack": {**parts["stack"], **{k: {**base, **scorers} for k, base in plain.items()}}}

    versions = {name: parts["metrics"][name] for name in HEADLINE_METRICS}

    def protocol_hash(**scorers: str) -> str:
        return str(make_board_protocol(with_scorers(**scorers), versions)["hash"])

    assert protocol_hash(detector="another") != protocol_hash()
    headline = [m.info for m in all_metrics(plain["names"])][: len(HEADLINE_METRICS)]
    for x in "ab":
        extra_scorers = dict.fromkeys(NON_HEADLINE_SCORERS, x)
        assert protocol_hash(**extra_scorers) == protocol_hash()
        metrics = {m.info.name: m.info for m in all_metrics({**plain["names"], **extra_scorers})}
        assert [metrics[name] for name in HEADLINE_METRICS] == headline


def remove_middle(board: Path) -> None:
    shutil.rmtree(sorted((board / "entries").iterdir())[2])


def rename_last(board: Path) -> None:
    last = sorted((board / "entries").iterdir())[-1]
    last.rename(last.with_name(f"0009-{last.name[5:]}"))


def entry_folder(board: Path, name: str = "paint") -> Path:
    return next(p for p in (board / "entries").iterdir() if p.name.partition("-")[2] == name)


PROBLEMS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "drift": (lambda b: (b / "README.md").write_text("better"), r"README\.md: differs from what the entries give"),
    "no table": (lambda b: (b / "index.html").unlink(), r"index\.html: missing"),
    "missing entry": (remove_middle, "missing before|does not follow"),
    "a gap": (rename_last, "missing before"),
    "edited scores": (
        lambda b: edit(entry_folder(b) / "images.json.gz", lambda d: d[0]["scores"].update(miou=1.0)),
        r"paint: images\.json\.gz edited after submission",
    ),
    "edited facts": (
        lambda b: edit(entry_folder(b) / "entry.json", lambda d: d["row"].update(version="9")),
        "does not follow the entry before it",
    ),
    "edited samples": (
        lambda b: edit(b / "samples.json.gz", lambda d: d[0].update(prompt="x")), r"samples\.json\.gz edited"
    ),
    "other protocol": (
        lambda b: edit(entry_folder(b) / "entry.json", lambda d: d["protocol"]["parts"].update(seeds=[7])),
        "the protocol's digest is not the one stored",
    ),
    "no detections": (lambda b: (entry_folder(b) / "detections.parquet").unlink(), "no detections.parquet"),
    "broken entry": (lambda b: (entry_folder(b) / "entry.json").write_text("{"), "expected entry.json as"),
    "newer format": (
        lambda b: edit(entry_folder(b) / "entry.json", lambda d: d.update(format="layoutmark-entry-9")),
        "format layoutmark-entry-9",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_is_reported(board, name: str) -> None:
    damage, message = PROBLEMS[name]
    damage(board)
    problems = check_board(board)
    assert any(re.search(message, problem) for problem in problems), problems


def test_later_entries_replace_earlier_ones(tiny, board) -> None:
    run = RunFolder(tiny.folder)
    entry_count = len(open_board(board).entries)
    submit(run, board, Registry([tiny.methods]), ["paint"])
    table = build_board(board)
    assert check_board(board) == []
    assert len(table["chain"]) == entry_count + 1
    assert [m["entry"] for m in table["tracks"]["authors"]["methods"] if m["name"] == "paint"] == [len(table["chain"])]
    (line,) = table["history"]
    assert (line["name"], len(line["entries"]), line["changes"]) == ("paint", 2, [])


def change_results(run: RunFolder, change: Callable[[Any], Any]) -> None:
    results = run.read_results()
    change(results)
    run.write_results(results)


def find_row(results: Any, name: str = "paint") -> Any:
    return next(m for m in results["methods"] if m["name"] == name)


def lose_image(results: Any) -> None:
    find_row(results)["counts"].update(failed=1, ok=find_row(results)["counts"]["ok"] - 1)
    image = next(i for i in results["images"] if i["method"] == "paint")
    image.update(status="failed", reason="no memory", image=None)
    image["scores"] = {name: {"unscored": "failed"} for name in image["scores"]}


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "lost images": (lose_image, "incomplete: 1 of 3 images failed"),
    "counts by hand": (lambda r: find_row(r)["counts"].update(failed=1), "counts that do not match the images"),
    "images by hand": (
        lambda r: r["images"].remove(next(i for i in r["images"] if i["method"] == "paint")),
        "incomplete: 1 of 3 images of the board not stored",
    ),
    "scores by hand": (
        lambda r: next(i for i in r["images"] if i["method"] == "paint")["scores"].update(clip_iqa=7.0),
        "clip_iqa of 1 image is outside 0 to 1",
    ),
    "untrained": (
        lambda r: next(i for i in r["images"] if i["method"] == "paint")["notes"].update(untrained="yes"),
        "untrained",
    ),
    "changed settings": (lambda r: find_row(r)["settings"].update(boxes=False), "undeclared deviation: settings boxes"),
    "other seeds": (lambda r: r["protocol"]["parts"].update(seeds=[3]), "that of leaderboard tiny"),
    "other samples": (lambda r: r["samples"][0].update(prompt="x"), "other samples"),
}


INCOMPLETE_RESULTS: dict[str, Callable[[Any], Any]] = {
    "no times": lambda r: r.update(times=None),
    "no code": lambda r: find_row(r).pop("code"),
    "settings as text": lambda r: find_row(r).update(settings="odd"),
    "no names of scorers": lambda r: r["protocol"]["parts"]["stack"].pop("names"),
}


@pytest.mark.parametrize("name", INCOMPLETE_RESULTS)
def test_incomplete_results_are_refused(tiny, tmp_path, run, name: str) -> None:
    change_results(run, INCOMPLETE_RESULTS[name])
    with pytest.raises(LayoutmarkError, match=r"submission of run 'tiny': found .+; expected .+\. .+"):
        submit(run, tmp_path / "new", Registry([tiny.methods]))
    assert not (tmp_path / "new").exists()


def test_a_title_with_quotes_gives_valid_toml(tiny, tmp_path, run) -> None:
    change_results(run, lambda r: r["suite"].update(title='a "b"\n\\ \U0001f418'))
    submit(run, tmp_path / "new", Registry([tiny.methods]))
    assert tomllib.loads((tmp_path / "new" / "board.toml").read_text("utf-8"))["title"].startswith(
        'a "b"\n\\ \U0001f418 on'
    )
    build_board(tmp_path / "new")
    assert check_board(tmp_path / "new") == []


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_submission_writes_nothing(tiny, board, run, name: str) -> None:
    change, message = REFUSED[name]
    change_results(run, change)
    before = sorted((board / "entries").iterdir())
    with pytest.raises(LayoutmarkError, match=message):
        submit(run, board, Registry([tiny.methods]))
    assert sorted((board / "entries").iterdir()) == before


def test_additional_strata_do_not_end_a_board(tiny, board, run) -> None:
    change_results(run, lambda r: [s["strata"].update(weather="rain") for s in r["samples"]])
    submit(run, board, Registry([tiny.methods]), ["paint"])
    build_board(board)
    assert check_board(board) == []


def test_declared_changes_may_enter_and_are_listed(tiny, board, run) -> None:
    change_results(run, lambda r: find_row(r)["settings"].update(boxes=False))
    submit(run, board, Registry([tiny.methods]), ["paint"], because="an ablation | <b>")
    build_board(board)
    assert check_board(board) == []
    assert r"boxes = False (an ablation \| \<b\>)" in (board / "README.md").read_text("utf-8")
    assert "an ablation | &lt;b&gt;" in (board / "index.html").read_text("utf-8")


def test_hostile_names_are_escaped(tiny, board, run) -> None:
    hostile_name = "paint|<script>alert(1)</script>\u202e"

    def rename(results: Any) -> None:
        find_row(results)["name"] = hostile_name
        for image in results["images"]:
            image["method"] = hostile_name if image["method"] == "paint" else image["method"]
        for record in (*results["rows"], *results["pairs"]):
            record.update({k: hostile_name for k, v in record.items() if v == "paint"})
        results["ties"] = {}
        results["times"]["per_image_seconds"] = {}

    change_results(run, rename)
    detections = run.read_detections()
    detections["method"] = detections["method"].astype(str).replace("paint", hostile_name)
    detections.to_parquet(run.path / "detections.parquet")
    submit(run, board, Registry([tiny.methods]), [hostile_name])
    build_board(board)
    page, text = ((board / name).read_text("utf-8") for name in ("index.html", "README.md"))
    assert "<script" not in page
    assert "<script" not in text.replace(r"\<", "")
    assert "\u202e" not in page + text
    assert check_board(board) == []


@pytest.mark.parametrize(
    ("text", "found"), [("[match]\nsteps = 25\n", "unknown key 'match'"), ("matched = 3\n", "matched is not a table")]
)
def test_an_invalid_board_toml_is_refused(board, text: str, found: str) -> None:
    (board / "board.toml").write_text(text)
    with pytest.raises(LayoutmarkError, match=rf"leaderboard tiny, board\.toml: found {found}; expected title, and"):
        build_board(board)
    assert main(["leaderboard", "check", str(board)]) == 1


def test_the_matched_track_requires_its_settings(tiny, board) -> None:
    run = RunFolder(tiny.folder)
    with pytest.raises(LayoutmarkError, match="lists no settings"):
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
    for document, head in ((text, "## Matched settings"), (page, "<h2>Matched settings</h2>")):
        authors, matched = document.split(head)
        assert "Settings of every method here: boxes = false." in matched
        assert "Settings of every" not in authors
    rows = [line.split("|")[1].strip() for line in text.partition("## Matched settings")[2].splitlines() if "|" in line]
    assert [r for r in rows if r.startswith("paint")] == ["paint@blind"]
    assert '<th scope="row">paint<wbr>@blind</th>' in page
    assert check_board(board) == []


def test_times_can_be_left_out(tiny, board) -> None:
    paths = ["--methods-path", str(tiny.methods)]
    assert main(["leaderboard", "submit", f"{tiny.folder}:paint", "--board", str(board), "--no-times", *paths]) == 0
    seconds = {m["name"]: m["seconds_per_image"] for m in build_board(board)["tracks"]["authors"]["methods"]}
    assert seconds["paint"] is None
    assert seconds["paint@blind"] is not None
    assert "generated on" in (board / "README.md").read_text("utf-8")
    assert check_board(board) == []


def test_a_method_that_lacks_a_matched_setting_is_refused(tiny, board) -> None:
    (board / "board.toml").write_text("[matched]\nboxes = false\nsteps = 25\n")
    with pytest.raises(LayoutmarkError, match="not matched: steps"):
        submit(RunFolder(tiny.folder), board, Registry([tiny.methods]), ["paint@blind"], "matched")


def test_scores_above_those_of_the_true_images_are_implausible(board) -> None:
    table = json.loads((board / "board.json").read_text("utf-8"))
    assert _check_plausibility(table) == []
    rows = table["tracks"]["authors"]["rows"]
    next(r for r in rows if (r["method"], r["metric"]) == ("paint", "ap50")).update(low=1.0)
    next(r for r in rows if (r["method"], r["metric"]) == ("ceiling", "ap50")).update(high=0.9)
    problem = "paint (authors): implausible ap50: at least 1.000, true images at most 0.900"
    assert _check_plausibility(table) == [problem]


def test_missing_images_break_a_rule() -> None:
    facts = {"row": {"counts": {"requested": 2}, "settings": {}, "kind": "method", "preset": "", "deviations": []},
             "track": "authors", "overrides": {}, "because": ""}  # fmt: skip
    assert find_rule_violations(facts, [{"notes": {}}], {}) == ["incomplete: 1 images stored, 2 requested"]


def test_submit_check_and_build_commands(active_tiny_run, tmp_path, capsys) -> None:
    folder = str(tmp_path / "mini-mini")
    paths = ["--methods-path", str(active_tiny_run.methods)]
    assert main(["leaderboard", "submit", "tiny", "--board", folder, *paths]) == 0
    assert "entries/0001-ceiling" in capsys.readouterr().out
    assert main(["leaderboard", "check", folder]) == 1
    assert "README.md: missing" in capsys.readouterr().out
    assert main(["leaderboard", "build", folder]) == 0
    assert main(["leaderboard", "check", folder]) == 0
    assert main(["leaderboard", "check", str(tmp_path / "nowhere")]) == 3
