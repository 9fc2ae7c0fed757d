"""A suite with categories that the detector has no class for is refused, not scored as missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from layoutmark.errors import LayoutmarkError
from layoutmark.features.detector import FILES
from layoutmark.features.scorers import Scorers
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.measure.vocabulary import check_vocabulary
from layoutmark.provenance import canonical_json, digest
from layoutmark.registry.card_types import Generator, Scorer, StackCard
from layoutmark.suites import FileSuite

NAMES = ("tent", "kite", "hot dog")


def make_scorers(root: Path, names: tuple[str, ...] = NAMES, checksum: str | None = None) -> Scorers:
    (root / "detector").mkdir(exist_ok=True)
    for file in FILES:
        (root / "detector" / file).write_bytes(b"{}")
    names_with_digest = {"names": list(names), "sha256": digest(list(names)) if checksum is None else checksum}
    (root / "detector" / "names.json").write_text(canonical_json(names_with_digest), "utf-8")
    scorers = {"detector": Scorer(folder="detector")}
    return Scorers(StackCard("toy", "Toy", "1", "stable-diffusion", 64, Generator(folder="generator"), scorers), root)


def make_suite(*categories: str) -> FileSuite:
    samples = [
        Sample(str(n), c, Layout(Canvas(8, 8), (Instance("0", c, c, Box(0, 0, 1, 1)),)))
        for n, c in enumerate(categories)
    ]
    return FileSuite("toy", "1", tuple(sorted(set(categories))), samples, "0", ())


def test_categories_match_by_name_in_any_order(tmp_path) -> None:
    check_vocabulary(make_suite("hot dog", "tent", "kite"), make_scorers(tmp_path))
    check_vocabulary(make_suite("kite"), make_scorers(tmp_path, NAMES[::-1]))


def test_an_unknown_category_is_refused(tmp_path) -> None:
    with pytest.raises(
        LayoutmarkError,
        match=r"suite 'toy' with the detector.*found 2 of 3 categories.*: dog, sky; expected.* its 3 classes, matched",
    ):
        check_vocabulary(make_suite("kite", "sky", "dog"), make_scorers(tmp_path))
    with pytest.raises(LayoutmarkError, match="and 3 more"):
        check_vocabulary(make_suite(*(f"thing{n}" for n in range(11))), make_scorers(tmp_path))


def test_swapped_names_are_refused(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match="differ from their checksum"):
        check_vocabulary(make_suite("kite"), make_scorers(tmp_path, NAMES[::-1], digest(list(NAMES))))


def test_a_stack_without_a_detector_is_not_checked(tmp_path) -> None:
    card = StackCard("toy", "Toy", "1", "stable-diffusion", 64, Generator(folder="generator"), {})
    check_vocabulary(make_suite("sky"), Scorers(card, tmp_path))
