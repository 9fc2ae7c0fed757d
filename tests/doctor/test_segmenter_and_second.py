"""`layoutmark doctor` on segmenters and second detectors: the sound ones pass, each broken one is caught."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from doctor_contexts import Truth, said, ward_with

from layoutmark.doctor import DoctorContext, admit
from layoutmark.doctor.mask_checks import CHECKS
from layoutmark.evidence import Detections
from layoutmark.features.images import checked
from layoutmark.features.scorers import Scorers
from layoutmark.layout import Mask
from layoutmark.registry import Registry

LIE, COMPANY, CANVAS, NOTHING = CHECKS
FOUND, PLACED, BATCH, BLANK = (
    "detector finds true objects", "boxes lie right on any canvas", "scores do not depend on the batch",
    "black and white show nothing",
)  # fmt: skip
FORMS = "other forms of pictures are refused"


class Ellipses:
    """A segmenter without a model: the ellipse in every box.  `bend` changes the masks of a call."""

    def __init__(self, bend: Callable[[list[list[Any]], Sequence[Any]], list[list[Any]]] | None = None) -> None:
        self.bend = bend or (lambda masks, images: masks)

    def segment(self, images: Sequence[Any], boxes: Sequence[Any]) -> list[tuple[Mask, ...]]:
        found = []
        for image, wanted in zip(images, boxes, strict=True):
            height, width = checked(image).shape[:2]
            y, x = (np.indices((height, width)) + 0.5) / np.array([height, width])[:, None, None]
            found.append([
                ((x - (x0 + x1) / 2) / ((x1 - x0) / 2)) ** 2 + ((y - (y0 + y1) / 2) / ((y1 - y0) / 2)) ** 2 <= 1
                for x0, y0, x1, y1 in wanted
            ])  # fmt: skip
        return [tuple(Mask.from_array(m) for m in masks) for masks in self.bend(found, images)]


@pytest.fixture(scope="module")
def plain() -> DoctorContext:
    return admit(Registry(), "mini", "mini")


def test_without_the_roles_nothing_is_wrong(plain: DoctorContext) -> None:
    ward = ward_with(plain, "lpips", None)
    assert {said(ward, name) for name in CHECKS} == {(True, "no segmenter")}
    assert "second_detector" not in ward.detectors()


@pytest.mark.parametrize("name", [*CHECKS, FORMS])
def test_a_sound_segmenter_passes(name: str, plain: DoctorContext) -> None:
    ok, detail = said(ward_with(plain, "segmenter", Ellipses()), name)
    # Ellipses are rough: what is like true masks is asked of the real one below.
    assert ok or name == LIE, detail


def test_the_stack_s_segmenter_lies_on_true_masks(plain: DoctorContext) -> None:
    ok, detail = said(plain, LIE)
    assert ok, detail
    assert float(detail.rpartition(" ")[2]) > 0.9


def shifted(masks: list[list[Any]], images: Sequence[Any]) -> list[list[Any]]:
    return [[np.roll(m, m.shape[1] // 3, axis=1) for m in part] for part in masks]


def on_a_grid_of_its_own(masks: list[list[Any]], images: Sequence[Any]) -> list[list[Any]]:
    return [[m[::2, ::2] for m in part] for part in masks]


def by_company(masks: list[list[Any]], images: Sequence[Any]) -> list[list[Any]]:
    return [[m & (len(images) == 1) for m in part] for part in masks]


def in_another_order(masks: list[list[Any]], images: Sequence[Any]) -> list[list[Any]]:
    flat = sorted((m for part in masks for m in part), key=lambda m: int(m.sum()))
    rest = iter(flat)
    return [[next(rest) for _ in part] for part in masks]


def stretched(masks: list[list[Any]], images: Sequence[Any]) -> list[list[Any]]:
    """As if every picture were square: columns are read at the height's scale."""
    return [
        [m[:, np.minimum(np.arange(m.shape[1]) * m.shape[0] // m.shape[1], m.shape[1] - 1)] for m in part]
        for part in masks
    ]


@pytest.mark.parametrize(
    ("bend", "name", "why"),
    [
        (shifted, LIE, "lie in their box"),
        (lambda masks, images: [[np.zeros_like(m) for m in part] for part in masks], LIE, "fill 0.00"),
        (lambda masks, images: [[~m for m in part] for part in masks], LIE, "lie in their box"),
        (on_a_grid_of_its_own, NOTHING, "expected the picture's grid, "),
        (lambda masks, images: [part[:-1] for part in masks], NOTHING, "expected one mask a box"),
        (lambda masks, images: [[*part, *part] for part in masks], NOTHING, "expected one mask a box"),
        (by_company, COMPANY, "least IoU"),
        (in_another_order, COMPANY, "least IoU"),
        (stretched, CANVAS, "wide canvas 0."),
    ],
)  # fmt: skip
def test_a_broken_segmenter_is_caught(bend: Any, name: str, why: str, plain: DoctorContext) -> None:
    ok, detail = said(ward_with(plain, "segmenter", Ellipses(bend)), name)
    assert not ok, detail
    assert why in detail


def test_a_segmenter_that_takes_any_picture_is_caught(plain: DoctorContext) -> None:
    class Greedy(Ellipses):
        def segment(self, images: Sequence[Any], boxes: Sequence[Any]) -> list[tuple[Mask, ...]]:
            return [tuple(Mask.from_array(np.ones((4, 4), bool)) for _ in wanted) for wanted in boxes]

    ok, detail = said(ward_with(plain, "segmenter", Greedy()), FORMS)
    assert not ok
    assert "segmenter took floats from 0 to 1" in detail


SECOND_CHECKS = (FOUND, PLACED, BATCH, BLANK, FORMS)


@pytest.mark.parametrize("name", SECOND_CHECKS)
def test_a_sound_second_detector_passes(name: str, plain: DoctorContext) -> None:
    ok, detail = said(ward_with(plain, "second_detector", Truth(plain)), name)
    assert ok, detail
    assert "second_detector" in detail


@pytest.mark.parametrize(
    ("bend", "name"),
    [
        (lambda d, image, company: dataclasses.replace(d, labels=tuple("tree" for _ in d.labels)), FOUND),
        (lambda d, image, company: dataclasses.replace(d, scores=d.scores * 0.1), FOUND),
        # Padded to a square at the lower right, and not mapped back.
        (lambda d, image, company: dataclasses.replace(
            d, boxes=d.boxes * (np.array(image.shape[1::-1] * 2) / max(image.shape))), PLACED),
        (lambda d, image, company: dataclasses.replace(d, scores=d.scores - 0.01 * company), BATCH),
        (lambda d, image, company: Detections(np.array([[0.1, 0.1, 0.5, 0.5]]), np.array([0.8]), ("cat",)), BLANK),
    ],
)  # fmt: skip
def test_a_broken_second_detector_is_caught(bend: Any, name: str, plain: DoctorContext) -> None:
    ok, detail = said(ward_with(plain, "second_detector", Truth(plain, bend)), name)
    assert not ok, detail


def test_its_own_confidence_counts(plain: DoctorContext) -> None:
    """Open vocabularies are sure of little: what counts is the confidence that the card says."""
    model = Truth(plain, lambda d, image, company: dataclasses.replace(d, scores=d.scores * 0.09))
    ward = ward_with(plain, "second_detector", model)
    assert not said(ward, FOUND)[0]
    spare = dataclasses.replace(
        ward.entry.card.scorers["segmenter"], engine="owlv2", settings={"confidence": 0.05}, folder="detector"
    )
    card = dataclasses.replace(ward.entry.card, scorers={"second_detector": spare})
    ward.scorers._card = card
    assert ward.least("second_detector") == 0.05
    assert said(ward, FOUND)[0]


@pytest.mark.parametrize(
    "turned",
    [lambda p: np.ascontiguousarray(p[..., ::-1]), lambda p: (p // 2).astype(np.uint8)],
    ids=["red and blue swapped", "half the range"],
)
def test_a_segmenter_that_reads_pixels_otherwise_is_seen_to_drift(turned: Any, plain: DoctorContext) -> None:
    right = plain.scorers.segmenter

    class Otherwise:
        def segment(self, images: Sequence[Any], boxes: Sequence[Any]) -> list[tuple[Mask, ...]]:
            return right.segment([turned(i) for i in images], boxes)

    scorers = Scorers(plain.entry.card, plain.entry.folder)
    scorers._loaded = {**plain.scorers._loaded, "segmenter": Otherwise()}
    ok, detail = said(dataclasses.replace(plain, scorers=scorers), "scorers say what they said")
    assert not ok
    assert "mask beyond 0.02" in detail
    ok, detail = said(plain, "scorers say what they said")
    assert ok, detail
