"""Boards whose digests and tables were all made to fit by hand: `check` still finds what may not stand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layoutmark.leaderboard import build_board, check_board, file_digest, submit
from layoutmark.leaderboard.entry import START, board_protocol, pack, read_packed
from layoutmark.shelf import Shelf
from layoutmark.store import RunFolder

Change = Callable[[dict[str, Any], list[dict[str, Any]]], Any]


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("forged") / "tiny"
    submit(RunFolder(tiny.folder), folder, Shelf([tiny.methods]))
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
    build_board(board)


def test_the_forger_leaves_no_trace_where_nothing_is_changed(board) -> None:
    forge(board, {})
    assert check_board(board) == []


def other_seeds(facts: dict[str, Any], _: Any) -> None:
    parts = {**facts["protocol"]["parts"], "seeds": [7]}
    facts["protocol"] = board_protocol(parts, {m["name"]: m["version"] for m in facts["metrics"]})


def failed(facts: dict[str, Any], images: list[dict[str, Any]]) -> None:
    facts["row"]["counts"].update(failed=1, ok=facts["row"]["counts"]["ok"] - 1)
    scores = {metric: {"unscored": "failed"} for metric in images[0]["scores"]}
    images[0].update(status="failed", reason="out of memory", image=None, scores=scores)


FORGED: dict[str, tuple[Change, str]] = {
    "mixed protocols": (other_seeds, "entry {number} paint: mixed protocols: {hash}, the first entry has another"),
    "failed images": (failed, "entry {number} paint: incomplete: 1 of 3 images failed or are missing"),
    "cut images": (lambda _, i: i.pop(), "entry {number} paint: incomplete: 2 images stored, 3 requested"),
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
    assert check_board(board) == [expected.format(number=number, hash=kept[0]["protocol"]["hash"])]


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
