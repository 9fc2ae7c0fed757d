"""Boards whose digests and tables were all made to fit by hand: `check` still finds what may not stand."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.leaderboard import build_board, check_board, file_digest, submit
from layoutmark.leaderboard.entry import START, board_protocol, pack, read_packed
from layoutmark.registry import Registry
from layoutmark.store import RunFolder

Change = Callable[[dict[str, Any], list[dict[str, Any]]], Any]


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("forged") / "tiny"
    submit(RunFolder(tiny.folder), folder, Registry([tiny.methods]))
    return folder


@pytest.fixture
def board(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "tiny"))


def forge(board: Path, changes: dict[str, Change]) -> None:
    """Change entries by method, then bring every digest and every table in step, as a careful forger would."""
    previous = START
    for folder in sorted((board / "entries").iterdir()):
        facts = json.loads((folder / "entry.json").read_text("utf-8"))
        images = read_packed(folder / "images.json.gz")
        if (change := changes.get(facts["row"]["name"])) is not None:
            change(facts, images)
        (folder / "images.json.gz").write_bytes(pack(images))
        facts["files"]["images.json.gz"] = file_digest(folder / "images.json.gz")
        facts["previous"] = previous
        (folder / "entry.json").write_text(json.dumps(facts), "utf-8")
        previous = file_digest(folder / "entry.json")
    # An entry that is none cannot be built at all; `check` must still say what is wrong with it.
    with contextlib.suppress(LayoutmarkError):
        build_board(board)


def test_the_forger_leaves_no_trace_where_nothing_is_changed(board) -> None:
    forge(board, {})
    assert check_board(board) == []


def other_suite(facts: dict[str, Any], _: Any) -> None:
    parts = {**facts["protocol"]["parts"], "suite": {**facts["protocol"]["parts"]["suite"], "version": "9"}}
    facts["protocol"] = board_protocol(parts, {m["name"]: m["version"] for m in facts["metrics"]})


def failed(facts: dict[str, Any], images: list[dict[str, Any]]) -> None:
    facts["row"]["counts"].update(failed=1, ok=facts["row"]["counts"]["ok"] - 1)
    scores = {metric: {"unscored": "failed"} for metric in images[0]["scores"]}
    images[0].update(status="failed", reason="out of memory", image=None, scores=scores)


def failed_and_hidden(facts: dict[str, Any], images: list[dict[str, Any]]) -> None:
    counts = dict(facts["row"]["counts"])
    failed(facts, images)
    facts["row"]["counts"] = counts


def cut_and_counted(facts: dict[str, Any], images: list[dict[str, Any]]) -> None:
    """The worst image left out, and everything brought in step."""
    images.pop(0)
    facts["row"]["counts"].update(requested=2, ok=2)


def renamed(_: Any, images: list[dict[str, Any]]) -> None:
    for image in images:
        image["method"] = "other"


FORGED: dict[str, tuple[Change, str]] = {
    "mixed protocols": (other_suite, "entry {number} paint: mixed protocols: {hash}, the first entry has another"),
    "failed images": (failed, "entry {number} paint: incomplete: 1 of 3 images failed or are missing"),
    "cut images": (
        lambda _, i: i.pop(),
        "entry {number} paint: incomplete: 1 of 3 images that the board asks for are not stored\n"
        "entry {number} paint: counts that are not those of its images",
    ),
    "cut images, counted right": (
        cut_and_counted, "entry {number} paint: incomplete: 1 of 3 images that the board asks for are not stored"
    ),
    "an image in place of another": (
        lambda _, i: i.__setitem__(0, i[1]),
        "entry {number} paint: incomplete: 1 of 3 images that the board asks for are not stored\n"
        "entry {number} paint: images that nobody asked for, or stored twice: 1",
    ),
    "failed images, hidden": (failed_and_hidden, "entry {number} paint: counts that are not those of its images"),
    "images of another method": (
        renamed,
        "entry {number} paint: incomplete: 3 of 3 images that the board asks for are not stored\n"
        "entry {number} paint: images that nobody asked for, or stored twice: 3",
    ),
    "a score beyond its range": (
        lambda _, i: i[0]["scores"].update(clip_t=3.0), "entry {number} paint: clip_t of 1 images is outside -1 to 1"
    ),
    "a score left out": (
        lambda _, i: i[0]["scores"].pop("dino"),
        "entry {number} paint: dino of 1 images is neither a score nor a reason",
    ),
    "AP that the detections do not give": (
        lambda _, i: i[0]["scores"].update(ap50=0.123),
        "entry {number} paint: ap50 of 1 images is not what its detections give",
    ),
    "a method among the reference rows": (
        lambda f, _: f.update(track="reference"), "entry {number} paint: track reference for a row of kind 'method'"
    ),
    "a track of its own": (
        lambda f, _: f.update(track="gold"),
        "entry {number} paint: track 'gold'; known are authors, matched and reference",
    ),
    "no deviations at all": (
        lambda f, _: f["row"].pop("deviations"),
        "entry {number} paint: deviations is not what `leaderboard submit` writes",
    ),
    "no notes": (
        lambda _, i: i[0].pop("notes"),
        "entry {number} paint: not in the form that `leaderboard submit` writes: KeyError: 'notes'",
    ),
    "untrained weights": (
        lambda _, i: i[1]["notes"].update(untrained="yes"), "entry {number} paint: untrained: drawn with random weights"
    ),
    "undeclared settings": (
        lambda f, _: f.update(overrides={"boxes": False}, because=" "),
        "entry {number} paint: undeclared deviation: settings boxes differ from the card's",
    ),
    "undeclared deviations": (
        lambda f, _: f["row"].update(preset="paper", deviations=[]),
        "entry {number} paint: undeclared deviation: a preset of the paper without a declared deviation",
    ),
    "false matched track": (
        lambda f, _: f.update(track="matched"),
        "entry {number} paint: not matched: the board names no settings for that track",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_what_may_not_stand_is_named_with_its_entry(board, name: str) -> None:
    change, expected = FORGED[name]
    kept: list[dict[str, Any]] = []

    def changed(facts: dict[str, Any], images: list[dict[str, Any]]) -> None:
        change(facts, images)
        kept.append(facts)

    number = next(p.name[:4] for p in (board / "entries").iterdir() if p.name.endswith("-paint"))
    forge(board, {"paint": changed})
    told = expected.format(number=number, hash=kept[0]["protocol"]["hash"])
    assert check_board(board) == told.splitlines()


def test_values_above_the_true_pictures_are_named(board) -> None:
    def scored(*values: float) -> Change:
        return lambda _, images: [i["scores"].update(miou=v) for i, v in zip(images, values, strict=True)]

    forge(board, {"paint": scored(0.97, 0.98, 0.99), "ceiling": scored(0.4, 0.41, 0.42)})
    *contradictions, fault = check_board(board)
    assert fault.startswith("paint (authors): implausible miou: 0.9")
    assert "true pictures 0.4" in fault
    assert [c.partition(": ")[2] for c in contradictions] == ["miou of 3 images is not what its detections give"] * 2


def test_line_ends_are_drift_too(board) -> None:
    forge(board, {})
    text = (board / "README.md").read_bytes()
    (board / "README.md").write_bytes(text.replace(b"\n", b"\r\n"))
    assert check_board(board) == ["README.md: not what the entries give. Run: layoutmark leaderboard build"]


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_torn_out_or_turned_round_is_told_and_raises_nothing(board, seed: int) -> None:
    rng = random.Random(seed)

    def spoiled(*parts: Any) -> None:
        held: Any = parts[rng.random() < 0.5]
        while True:
            key = rng.choice(list(held) if isinstance(held, dict) else range(len(held)))
            if not (isinstance(held[key], dict | list) and held[key]) or rng.random() < 0.1:
                break
            held = held[key]
        if rng.random() < 0.4:
            del held[key]
        else:
            held[key] = rng.choice([None, -7, "odd", [], {}, 1e300])

    forge(board, {"paint": spoiled})
    for fault in check_board(board):
        assert fault


def test_an_image_without_pixels_can_have_no_score(board) -> None:
    forge(board, {"paint": lambda _, images: images[0].update(image=None)})
    number = next(p.name[:4] for p in (board / "entries").iterdir() if p.name.endswith("-paint"))
    assert f"entry {number} paint: miou of 1 images without pixels has a score" in check_board(board)
