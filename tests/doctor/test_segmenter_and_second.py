"""`layoutmark doctor` on segmenters and second detectors: the sound ones pass, each broken one is caught."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from doctor_contexts import TrueDetector, context_with, run_one

from layoutmark.doctor import DoctorContext, open_context
from layoutmark.doctor.mask_checks import CHECKS
from layoutmark.evidence import Detections
from layoutmark.features.images import check_pixels
from layoutmark.features.scorers import Scorers
from layoutmark.layout import Mask
from layoutmark.registry import Registry

INSIDE_BOXES, MASK_BATCH, CANVAS, BLANK_MASKS = CHECKS
RECALL, ON_CANVAS, BATCH, BLANK_IMAGES = (
    "detector finds true objects", "boxes are right on any canvas", "scores do not depend on the batch",
    "blank images show nothing",
)  # fmt: skip
FORMATS = "other image formats are refused"


class Ellipses:
    """A segmenter without a model: the ellipse in every box.  `alter` changes the masks of a call."""

    def __init__(self, alter: Callable[[list[list[Any]], Sequence[Any]], list[list[Any]]] | None = None) -> None:
        self.alter = alter or (lambda masks, images: masks)

    def segment(self, images: Sequence[Any], boxes: Sequence[Any]) -> list[tuple[Mask, ...]]:
        all_masks = []
        for image, image_boxes in zip(images, boxes, strict=True):
            height, width = check_pixels(image).shape[:2]
            y, x = (np.indices((height, width)) + 0.5) / np.array([height, width])[:, None, None]
            all_masks.append([
                ((x - (x0 + x1) / 2) / ((x1 - x0) / 2)) ** 2 + ((y - (y0 + y1) / 2) / ((y1 - y0) / 2)) ** 2 <= 1
                for x0, y0, x1, y1 in image_boxes
            ])  # fmt: skip
        return [tuple(Mask.from_array(m) for m in masks) for masks in self.alter(all_masks, images)]


@pytest.fixture(scope="module")
def mini_context() -> DoctorContext:
    return open_context(Registry(), "mini", "mini")


def test_missing_roles_fail_no_check(mini_context: DoctorContext) -> None:
    context = context_with(mini_context, "lpips", None)
    assert {run_one(context, name) for name in CHECKS} == {(True, "no segmenter")}
    assert "second_detector" not in context.detectors()


@pytest.mark.parametrize("name", [*CHECKS, FORMATS])
def test_a_sound_segmenter_passes(name: str, mini_context: DoctorContext) -> None:
    ok, detail = run_one(context_with(mini_context, "segmenter", Ellipses()), name)
    # Ellipses are too rough to match true masks; the shipped segmenter is tested for that below.
    assert ok or name == INSIDE_BOXES, detail


def test_the_shipped_segmenter_agrees_with_true_masks(mini_context: DoctorContext) -> None:
    ok, detail = run_one(mini_context, INSIDE_BOXES)
    assert ok, detail
    assert float(detail.rpartition(" ")[2]) > 0.9


def shifted(masks: list[list[Any]], images: Sequence[Any]) -> list[list[Any]]:
    return [[np.roll(m, m.shape[1] // 3, axis=1) for m in image_masks] for image_masks in masks]


def on_another_grid(masks: list[list[Any]], images: Sequence[Any]) -> list[list[Any]]:
    return [[m[::2, ::2] for m in image_masks] for image_masks in masks]


def dependent_on_batch(masks: list[list[Any]], images: Sequence[Any]) -> list[list[Any]]:
    return [[m & (len(images) == 1) for m in image_masks] for image_masks in masks]


def reordered(masks: list[list[Any]], images: Sequence[Any]) -> list[list[Any]]:
    sorted_masks = iter(sorted((m for image_masks in masks for m in image_masks), key=lambda m: int(m.sum())))
    return [[next(sorted_masks) for _ in image_masks] for image_masks in masks]


def stretched(masks: list[list[Any]], images: Sequence[Any]) -> list[list[Any]]:
    """Treat every image as square: read columns at the scale of the height."""
    return [
        [m[:, np.minimum(np.arange(m.shape[1]) * m.shape[0] // m.shape[1], m.shape[1] - 1)] for m in image_masks]
        for image_masks in masks
    ]


@pytest.mark.parametrize(
    ("alter", "name", "message"),
    [
        (shifted, INSIDE_BOXES, "inside their box"),
        (lambda masks, images: [[np.zeros_like(m) for m in image_masks] for image_masks in masks],
         INSIDE_BOXES, "fill 0.00"),
        (lambda masks, images: [[~m for m in image_masks] for image_masks in masks], INSIDE_BOXES, "inside their box"),
        (on_another_grid, BLANK_MASKS, "expected the image's grid, "),
        (lambda masks, images: [image_masks[:-1] for image_masks in masks], BLANK_MASKS, "expected one mask per box"),
        (lambda masks, images: [[*image_masks, *image_masks] for image_masks in masks],
         BLANK_MASKS, "expected one mask per box"),
        (dependent_on_batch, MASK_BATCH, "lowest IoU"),
        (reordered, MASK_BATCH, "lowest IoU"),
        (stretched, CANVAS, "wide canvas 0."),
    ],
)  # fmt: skip
def test_a_broken_segmenter_is_caught(alter: Any, name: str, message: str, mini_context: DoctorContext) -> None:
    ok, detail = run_one(context_with(mini_context, "segmenter", Ellipses(alter)), name)
    assert not ok, detail
    assert message in detail


def test_a_segmenter_that_accepts_any_image_is_caught(mini_context: DoctorContext) -> None:
    class AcceptsAnything(Ellipses):
        def segment(self, images: Sequence[Any], boxes: Sequence[Any]) -> list[tuple[Mask, ...]]:
            return [tuple(Mask.from_array(np.ones((4, 4), bool)) for _ in image_boxes) for image_boxes in boxes]

    ok, detail = run_one(context_with(mini_context, "segmenter", AcceptsAnything()), FORMATS)
    assert not ok
    assert "segmenter accepted floats from 0 to 1" in detail


SECOND_CHECKS = (RECALL, ON_CANVAS, BATCH, BLANK_IMAGES, FORMATS)


@pytest.mark.parametrize("name", SECOND_CHECKS)
def test_a_sound_second_detector_passes(name: str, mini_context: DoctorContext) -> None:
    ok, detail = run_one(context_with(mini_context, "second_detector", TrueDetector(mini_context)), name)
    assert ok, detail
    assert "second_detector" in detail


@pytest.mark.parametrize(
    ("alter", "name"),
    [
        (lambda d, image, batch_size: dataclasses.replace(d, labels=tuple("tree" for _ in d.labels)), RECALL),
        (lambda d, image, batch_size: dataclasses.replace(d, scores=d.scores * 0.1), RECALL),
        # As if padded to a square at the lower right and not mapped back.
        (lambda d, image, batch_size: dataclasses.replace(
            d, boxes=d.boxes * (np.array(image.shape[1::-1] * 2) / max(image.shape))), ON_CANVAS),
        (lambda d, image, batch_size: dataclasses.replace(d, scores=d.scores - 0.01 * batch_size), BATCH),
        (lambda d, image, batch_size: Detections(np.array([[0.1, 0.1, 0.5, 0.5]]), np.array([0.8]), ("cat",)),
         BLANK_IMAGES),
    ],
)  # fmt: skip
def test_a_broken_second_detector_is_caught(alter: Any, name: str, mini_context: DoctorContext) -> None:
    ok, detail = run_one(context_with(mini_context, "second_detector", TrueDetector(mini_context, alter)), name)
    assert not ok, detail


def test_the_second_detectors_own_confidence_counts(mini_context: DoctorContext) -> None:
    """Open-vocabulary detectors have low confidences, so the threshold is the one in the stack's card."""
    model = TrueDetector(mini_context, lambda d, image, batch_size: dataclasses.replace(d, scores=d.scores * 0.09))
    context = context_with(mini_context, "second_detector", model)
    assert not run_one(context, RECALL)[0]
    scorer = dataclasses.replace(
        context.entry.card.scorers["segmenter"], engine="owlv2", settings={"confidence": 0.05}, folder="detector"
    )
    card = dataclasses.replace(context.entry.card, scorers={"second_detector": scorer})
    context.scorers._card = card
    assert context.min_confidence("second_detector") == 0.05
    assert run_one(context, RECALL)[0]


@pytest.mark.parametrize(
    "convert",
    [lambda p: np.ascontiguousarray(p[..., ::-1]), lambda p: (p // 2).astype(np.uint8)],
    ids=["red and blue swapped", "half the range"],
)
def test_drift_of_a_segmenter_is_noticed(convert: Any, mini_context: DoctorContext) -> None:
    segmenter = mini_context.scorers.segmenter

    class ReadsPixelsDifferently:
        def segment(self, images: Sequence[Any], boxes: Sequence[Any]) -> list[tuple[Mask, ...]]:
            return segmenter.segment([convert(i) for i in images], boxes)

    scorers = Scorers(mini_context.entry.card, mini_context.entry.folder)
    scorers._loaded = {**mini_context.scorers._loaded, "segmenter": ReadsPixelsDifferently()}
    ok, detail = run_one(dataclasses.replace(mini_context, scorers=scorers), "scorers match stored outputs")
    assert not ok
    assert "mask beyond 0.02" in detail
    ok, detail = run_one(mini_context, "scorers match stored outputs")
    assert ok, detail
