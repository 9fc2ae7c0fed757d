"""Forged boards with consistent digests and tables: `check` still finds every invalid entry."""

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
from layoutmark.leaderboard import build_board, check_board, file_digest, open_board, submit
from layoutmark.leaderboard.entry import GENESIS_DIGEST, make_board_protocol, pack_json, read_packed_json
from layoutmark.registry import Registry
from layoutmark.store import RunFolder

Change = Callable[[dict[str, Any], list[dict[str, Any]]], Any]


@pytest.fixture(scope="module")
def shared_board(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("forged") / "tiny"
    submit(RunFolder(tiny.folder), folder, Registry([tiny.methods]))
    return folder


@pytest.fixture
def board(shared_board, tmp_path) -> Path:
    return Path(shutil.copytree(shared_board, tmp_path / "tiny"))


def forge(board: Path, changes: dict[str, Change]) -> None:
    """Change entries by method, then update every digest and every table, as a careful forger would."""
    previous = GENESIS_DIGEST
    for folder in sorted((board / "entries").iterdir()):
        facts = json.loads((folder / "entry.json").read_text("utf-8"))
        images = read_packed_json(folder / "images.json.gz")
        if (change := changes.get(facts["row"]["name"])) is not None:
            change(facts, images)
        (folder / "images.json.gz").write_bytes(pack_json(images))
        facts["files"]["images.json.gz"] = file_digest(folder / "images.json.gz")
        facts["previous"] = previous
        (folder / "entry.json").write_text(json.dumps(facts), "utf-8")
        previous = file_digest(folder / "entry.json")
    # A board with an invalid entry cannot be built; `check` must still report what is wrong with it.
    with contextlib.suppress(LayoutmarkError):
        build_board(board)


def test_an_unchanged_board_has_no_problems(board) -> None:
    forge(board, {})
    assert check_board(board) == []


def change_suite_version(facts: dict[str, Any], _: Any) -> None:
    parts = {**facts["protocol"]["parts"], "suite": {**facts["protocol"]["parts"]["suite"], "version": "9"}}
    facts["protocol"] = make_board_protocol(parts, {m["name"]: m["version"] for m in facts["metrics"]})


def fail_first_image(facts: dict[str, Any], images: list[dict[str, Any]]) -> None:
    facts["row"]["counts"].update(failed=1, ok=facts["row"]["counts"]["ok"] - 1)
    scores = {metric: {"unscored": "failed"} for metric in images[0]["scores"]}
    images[0].update(status="failed", reason="out of memory", image=None, scores=scores)


def fail_first_image_with_old_counts(facts: dict[str, Any], images: list[dict[str, Any]]) -> None:
    counts = dict(facts["row"]["counts"])
    fail_first_image(facts, images)
    facts["row"]["counts"] = counts


def remove_image_and_adapt_counts(facts: dict[str, Any], images: list[dict[str, Any]]) -> None:
    """The worst image removed, and the counts adapted."""
    images.pop(0)
    facts["row"]["counts"].update(requested=2, ok=2)


def rename_method_of_images(_: Any, images: list[dict[str, Any]]) -> None:
    for image in images:
        image["method"] = "other"


FORGED: dict[str, tuple[Change, str]] = {
    "mixed protocols": (
        change_suite_version, "entry {number} paint: mixed protocols: {hash}, but {board_hash} in the first entry"
    ),
    "failed images": (fail_first_image, "entry {number} paint: incomplete: 1 of 3 images failed or are missing"),
    "cut images": (
        lambda _, i: i.pop(),
        "entry {number} paint: incomplete: 1 of 3 images of the board not stored\n"
        "entry {number} paint: counts that do not match the images",
    ),
    "cut images, counted right": (
        remove_image_and_adapt_counts, "entry {number} paint: incomplete: 1 of 3 images of the board not stored"
    ),
    "an image in place of another": (
        lambda _, i: i.__setitem__(0, i[1]),
        "entry {number} paint: incomplete: 1 of 3 images of the board not stored\n"
        "entry {number} paint: 1 image not on the board, or stored twice",
    ),
    "failed images, hidden": (
        fail_first_image_with_old_counts, "entry {number} paint: counts that do not match the images",
    ),
    "images of another method": (
        rename_method_of_images,
        "entry {number} paint: incomplete: 3 of 3 images of the board not stored\n"
        "entry {number} paint: 3 images not on the board, or stored twice",
    ),
    "a score beyond its range": (
        lambda _, i: i[0]["scores"].update(clip_t=3.0), "entry {number} paint: clip_t of 1 image is outside -1 to 1"
    ),
    "a score left out": (
        lambda _, i: i[0]["scores"].pop("dino"),
        "entry {number} paint: dino of 1 image has neither a score nor a reason",
    ),
    "AP that does not follow from the detections": (
        lambda _, i: i[0]["scores"].update(ap50=0.123),
        "entry {number} paint: ap50 of 1 image does not follow from its detections",
    ),
    "a method among the reference rows": (
        lambda f, _: f.update(track="reference"), "entry {number} paint: track reference for a row of kind 'method'"
    ),
    "a track of its own": (
        lambda f, _: f.update(track="gold"),
        "entry {number} paint: entry.json, key 'track': found a string 'gold'; "
        "expected one of authors, matched, reference",
    ),
    "no deviations at all": (
        lambda f, _: f["row"].pop("deviations"),
        "entry {number} paint: entry.json, object 'row': found no key 'deviations'; "
        "expected a list, each item an object",
    ),
    "no notes": (
        lambda _, i: i[0].pop("notes"),
        "entry {number} paint: images.json.gz, object '[0]': found no key 'notes'; expected an object",
    ),
    "untrained weights": (
        lambda _, i: i[1]["notes"].update(untrained="yes"),
        "entry {number} paint: untrained: images come from random weights",
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
        "entry {number} paint: not matched: the board lists no settings for that track",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_an_invalid_entry_is_reported(board, name: str) -> None:
    change, expected = FORGED[name]
    changed_facts: list[dict[str, Any]] = []

    def change_and_record(facts: dict[str, Any], images: list[dict[str, Any]]) -> None:
        change(facts, images)
        changed_facts.append(facts)

    number = next(p.name[:4] for p in (board / "entries").iterdir() if p.name.endswith("-paint"))
    forge(board, {"paint": change_and_record})
    board_hash = open_board(board).entries[0].facts["protocol"]["hash"]
    hashes = {"hash": changed_facts[0]["protocol"]["hash"], "board_hash": board_hash}
    assert check_board(board) == expected.format(number=number, **hashes).splitlines()


def test_values_above_the_true_images_are_reported(board) -> None:
    def set_miou(*values: float) -> Change:
        return lambda _, images: [i["scores"].update(miou=v) for i, v in zip(images, values, strict=True)]

    forge(board, {"paint": set_miou(0.97, 0.98, 0.99), "ceiling": set_miou(0.4, 0.41, 0.42)})
    *contradictions, problem = check_board(board)
    assert problem.startswith("paint (authors): implausible miou: at least 0.9")
    assert "true images at most 0.4" in problem
    assert [c.partition(": ")[2] for c in contradictions] == [
        "miou of 3 images does not follow from its detections"
    ] * 2


def test_line_ends_count_as_drift(board) -> None:
    forge(board, {})
    text = (board / "README.md").read_bytes()
    (board / "README.md").write_bytes(text.replace(b"\n", b"\r\n"))
    assert check_board(board) == ["README.md: differs from what the entries give. Run: layoutmark leaderboard build"]


@pytest.mark.parametrize("seed", range(30))
def test_random_damage_is_reported_without_an_exception(board, seed: int) -> None:
    rng = random.Random(seed)

    def damage(*parts: Any) -> None:
        """Delete or replace a random value of the facts or the images."""
        container: Any = parts[rng.random() < 0.5]
        while True:
            key = rng.choice(list(container) if isinstance(container, dict) else range(len(container)))
            if not (isinstance(container[key], dict | list) and container[key]) or rng.random() < 0.1:
                break
            container = container[key]
        if rng.random() < 0.4:
            del container[key]
        else:
            container[key] = rng.choice([None, -7, "odd", [], {}, 1e300])

    forge(board, {"paint": damage})
    for problem in check_board(board):
        assert problem


def test_an_image_without_pixels_cannot_have_a_score(board) -> None:
    forge(board, {"paint": lambda _, images: images[0].update(image=None)})
    number = next(p.name[:4] for p in (board / "entries").iterdir() if p.name.endswith("-paint"))
    assert f"entry {number} paint: miou of 1 image without pixels has a score" in check_board(board)
