"""A suite that asks for what the detector has no name for is not scored, instead of scored as missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.features.detector import FILES
from layoutmark.features.scorers import Scorers
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.measure.vocabulary import check_vocabulary
from layoutmark.provenance import canonical, digest
from layoutmark.registry.card_types import Generator, Scorer, StackCard
from layoutmark.suites import FileSuite

NAMES = ("tent", "kite", "hot dog")


def scorers(root: Path, names: tuple[str, ...] = NAMES, checksum: str | None = None) -> Scorers:
    (root / "detector").mkdir(exist_ok=True)
    for file in FILES:
        (root / "detector" / file).write_bytes(b"{}")
    listed = {"names": list(names), "sha256": digest(list(names)) if checksum is None else checksum}
    (root / "detector" / "names.json").write_text(canonical(listed), "utf-8")
    parts = {"detector": Scorer(folder="detector")}
    return Scorers(StackCard("toy", "Toy", "1", "stable-diffusion", 64, Generator(folder="generator"), parts), root)


def suite(*categories: str) -> FileSuite:
    made = [
        Sample(str(n), c, Layout(Canvas(8, 8), (Instance("0", c, c, Box(0, 0, 1, 1)),)))
        for n, c in enumerate(categories)
    ]
    return FileSuite("toy", "1", tuple(sorted(set(categories))), made, "0", ())


def test_by_name_in_any_order(tmp_path) -> None:
    check_vocabulary(suite("hot dog", "tent", "kite"), scorers(tmp_path))
    check_vocabulary(suite("kite"), scorers(tmp_path, NAMES[::-1]))


def test_a_name_that_is_missing(tmp_path) -> None:
    with pytest.raises(
        LayoutmarkError,
        match=r"suite 'toy' with the detector.*found 2 of 3 categories.*: dog, sky; expected.* its 3, by",
    ):
        check_vocabulary(suite("kite", "sky", "dog"), scorers(tmp_path))
    with pytest.raises(LayoutmarkError, match="and 3 more"):
        check_vocabulary(suite(*(f"thing{n}" for n in range(11))), scorers(tmp_path))


def test_names_that_were_exchanged(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match="differ from their checksum"):
        check_vocabulary(suite("kite"), scorers(tmp_path, NAMES[::-1], digest(list(NAMES))))


def test_a_stack_without_a_detector_finds_nothing_anyway(tmp_path) -> None:
    card = StackCard("toy", "Toy", "1", "stable-diffusion", 64, Generator(folder="generator"), {})
    check_vocabulary(suite("sky"), Scorers(card, tmp_path))
