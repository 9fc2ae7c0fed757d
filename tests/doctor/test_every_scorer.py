"""`layoutmark doctor` on Inception, LPIPS and second detectors: examined as the others are, and asked once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doctor_contexts import Truth, said, ward_with

from layoutmark.doctor import DoctorContext, admit, questions, store_canaries
from layoutmark.evidence import Detections
from layoutmark.features.images import checked
from layoutmark.registry import Registry

FORMS, NOTHING, FINE, BATCH, MOVED, SEEN, DISTANCE, DRIFT = (
    "other forms of pictures are refused", "black and white show nothing", "resizing is antialiased",
    "scores do not depend on the batch", "encoders see JPEG, swapped channels and grey",
    "the other scorers see them too", "LPIPS orders pictures", "scorers say what they said",
)  # fmt: skip


@pytest.fixture(scope="module")
def plain() -> DoctorContext:
    return admit(Registry(), "mini", "mini")


class Means:
    """Vectors of any length without a model: means of 8 x 8 blocks, and what of them is odd; `bend` changes pixels."""

    def __init__(self, bend: Callable[[Any], Any] = lambda p: p, grown: float = 40.0) -> None:
        self.bend, self.grown, self.asked = bend, grown, 0

    def images(self, images: Sequence[Any]) -> Any:
        self.asked += 1
        return self.grown * np.stack([self._one(self.bend(checked(i)).astype(np.float32) / 255) for i in images])

    def _one(self, image: Any) -> Any:
        rows = np.array_split(np.arange(image.shape[0]), 8)
        columns = np.array_split(np.arange(image.shape[1]), 8)
        means = np.array([[image[np.ix_(r, c)].mean(axis=(0, 1)) for c in columns] for r in rows])
        spread = np.array([[image[np.ix_(r, c)].std() for c in columns] for r in rows])
        # Only spread within blocks that small pictures have too: a fine pattern must look grey.
        spread = spread * (image.shape[0] < 200)
        return np.concatenate([means.ravel() - 0.4, spread.ravel(), [0.1]]).astype(np.float32)


class Apart:
    """A distance of two pictures without a model: of what `Means` says."""

    def __init__(self, bend: Callable[[Any], Any] = lambda d: d, model: Means | None = None) -> None:
        self.bend, self.model = bend, model or Means(grown=1.0)

    def distances(self, first: Sequence[Any], second: Sequence[Any]) -> Any:
        off = self.model.images(first) - self.model.images(second)
        return self.bend((off.astype(np.float64) ** 2).mean(axis=1))


@pytest.mark.parametrize("name", [FORMS, NOTHING, FINE, BATCH, MOVED])
def test_a_sound_inception_passes(name: str, plain: DoctorContext) -> None:
    ok, detail = said(ward_with(plain, "inception", Means()), name)
    assert ok, detail


@pytest.mark.parametrize(
    ("bend", "name"),
    [
        (lambda p: np.repeat(p.mean(axis=2, keepdims=True), 3, axis=2) * 0 + 7, MOVED),
        (lambda p: np.full(p.shape, np.nan), NOTHING),
        (lambda p: p[::8, ::8] if p.shape[0] > 200 else p, FINE),
    ],
)
def test_a_broken_inception_is_caught(bend: Any, name: str, plain: DoctorContext) -> None:
    ok, detail = said(ward_with(plain, "inception", Means(bend)), name)
    assert not ok, detail


@pytest.mark.parametrize("name", [FORMS, NOTHING, FINE, BATCH, SEEN, DISTANCE])
def test_a_sound_lpips_passes(name: str, plain: DoctorContext) -> None:
    ok, detail = said(ward_with(plain, "lpips", Apart()), name)
    assert ok, detail


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (Apart(lambda d: d + 0.1), DISTANCE),
        (Apart(lambda d: -d), DISTANCE),
        (Apart(lambda d: d * np.nan), NOTHING),
        (Apart(model=Means(lambda p: p * 0)), SEEN),
    ],
)
def test_a_broken_lpips_is_caught(model: Any, name: str, plain: DoctorContext) -> None:
    ok, detail = said(ward_with(plain, "lpips", model), name)
    assert not ok, detail


def test_a_second_detector_that_looks_at_nothing_is_caught(plain: DoctorContext) -> None:
    class Blind(Truth):
        def find(self, images: Sequence[Any], categories: Sequence[str]) -> list[Detections]:
            return [Detections(np.array([[0.1, 0.1, 0.5, 0.5]]), np.array([0.9]), ("cat",)) for _ in images]

    ok, detail = said(ward_with(plain, "second_detector", Blind(plain)), SEEN)
    assert not ok
    assert "second_detector finds" in detail


@pytest.mark.parametrize(
    ("bend", "why"),
    [
        (lambda d, image, company: dataclasses.replace(d, boxes=d.boxes * 0.97), "corner (second_detector) beyond"),
        (lambda d, image, company: dataclasses.replace(d, scores=d.scores - 0.05), "confidence (second_detector)"),
        (lambda d, image, company: dataclasses.replace(d, labels=("tree",) * len(d.labels)), "(second_detector)"),
    ],
)
def test_a_second_detector_that_says_something_else_is_seen_to_drift(
    bend: Any, why: str, plain: DoctorContext, tmp_path: Path
) -> None:
    def ward(model: Any) -> DoctorContext:
        found = ward_with(plain, "second_detector", model)
        return dataclasses.replace(found, entry=dataclasses.replace(found.entry, folder=tmp_path))

    store_canaries(ward(Truth(plain)))
    ok, detail = said(ward(Truth(plain)), DRIFT)
    assert ok, detail
    assert "corner (second_detector) 0.0e+00" in detail
    ok, detail = said(ward(Truth(plain, bend)), DRIFT)
    assert not ok
    assert why in detail


def test_the_second_detector_is_asked_for_the_categories_that_were_stored(plain: DoctorContext, tmp_path: Path) -> None:
    asked: list[Sequence[str]] = []

    class Listening(Truth):
        def find(self, images: Sequence[Any], categories: Sequence[str]) -> list[Detections]:
            asked.append(tuple(categories))
            return super().find(images, categories)

    found = ward_with(plain, "second_detector", Listening(plain))
    found = dataclasses.replace(found, entry=dataclasses.replace(found.entry, folder=tmp_path))
    store_canaries(found)
    # Another suite shows other things; what was stored is asked again.
    said(dataclasses.replace(found, shown=found.shown[-1:]), DRIFT)
    assert asked[0] == asked[1]


def test_inception_drifts_too(plain: DoctorContext, tmp_path: Path) -> None:
    def ward(model: Any) -> DoctorContext:
        found = ward_with(plain, "inception", model)
        return dataclasses.replace(found, entry=dataclasses.replace(found.entry, folder=tmp_path))

    store_canaries(ward(Means()))
    assert said(ward(Means()), DRIFT)[0]
    ok, detail = said(ward(Means(lambda p: p[..., ::-1])), DRIFT)
    assert not ok
    assert "inception cosine beyond 0.001" in detail


def test_the_same_pictures_are_shown_once(plain: DoctorContext) -> None:
    model = Means()
    ward = ward_with(plain, "inception", model)
    say = ward.sayings()["inception"]
    first = say(ward.pictures)
    assert (ward.sayings()["inception"](ward.pictures) == first).all()
    assert model.asked == 1
    alone = say(ward.pictures[:1])
    assert model.asked == 2, "other company is another question"
    assert alone == pytest.approx(first[:1])
    fresh = dataclasses.replace(ward)
    fresh.sayings()["inception"](ward.pictures)
    assert model.asked == 3, "another ward has heard nothing"


def test_a_stack_without_scorers_is_asked_nothing(plain: DoctorContext) -> None:
    ward = ward_with(plain, "lpips", Apart())
    answers = {name: said(ward, name) for name in questions()}
    assert {name for name, (ok, _) in answers.items() if not ok} <= {"scorers say what they said"}, answers
