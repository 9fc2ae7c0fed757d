"""`layoutmark doctor` on Inception, LPIPS and second detectors: the sound ones pass, each broken one is caught."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doctor_contexts import TrueDetector, context_with, run_one

from layoutmark.doctor import DoctorContext, all_checks, open_context, store_canaries
from layoutmark.evidence import Detections
from layoutmark.features.images import check_pixels
from layoutmark.registry import Registry

FORMATS, BLANK, ANTIALIASING, BATCH, ENCODERS_REACT, OTHERS_REACT, LPIPS_ORDER, DRIFT = (
    "other image formats are refused", "blank images show nothing", "resizing is antialiased",
    "scores do not depend on the batch", "encoders react to JPEG, swapped channels and grey",
    "other scorers react to them too", "LPIPS ranks differences", "scorers match stored outputs",
)  # fmt: skip


@pytest.fixture(scope="module")
def mini_context() -> DoctorContext:
    return open_context(Registry(), "mini", "mini")


class BlockMeans:
    """An encoder without a model: mean and spread of 8 x 8 blocks, not normalised.  `alter` changes the pixels."""

    def __init__(self, alter: Callable[[Any], Any] = lambda p: p, scale: float = 40.0) -> None:
        self.alter, self.scale, self.calls = alter, scale, 0

    def images(self, images: Sequence[Any]) -> Any:
        self.calls += 1
        return self.scale * np.stack([self._one(self.alter(check_pixels(i)).astype(np.float32) / 255) for i in images])

    def _one(self, image: Any) -> Any:
        rows = np.array_split(np.arange(image.shape[0]), 8)
        columns = np.array_split(np.arange(image.shape[1]), 8)
        means = np.array([[image[np.ix_(r, c)].mean(axis=(0, 1)) for c in columns] for r in rows])
        spread = np.array([[image[np.ix_(r, c)].std() for c in columns] for r in rows])
        # Ignore the spread within blocks of large images: a fine pattern must look grey.
        spread = spread * (image.shape[0] < 200)
        return np.concatenate([means.ravel() - 0.4, spread.ravel(), [0.1]]).astype(np.float32)


class BlockDistance:
    """A distance between two images without a model, from the output of `BlockMeans`."""

    def __init__(self, alter: Callable[[Any], Any] = lambda d: d, model: BlockMeans | None = None) -> None:
        self.alter, self.model = alter, model or BlockMeans(scale=1.0)

    def distances(self, first: Sequence[Any], second: Sequence[Any]) -> Any:
        off = self.model.images(first) - self.model.images(second)
        return self.alter((off.astype(np.float64) ** 2).mean(axis=1))


@pytest.mark.parametrize("name", [FORMATS, BLANK, ANTIALIASING, BATCH, ENCODERS_REACT])
def test_a_sound_inception_passes(name: str, mini_context: DoctorContext) -> None:
    ok, detail = run_one(context_with(mini_context, "inception", BlockMeans()), name)
    assert ok, detail


@pytest.mark.parametrize(
    ("alter", "name"),
    [
        (lambda p: np.repeat(p.mean(axis=2, keepdims=True), 3, axis=2) * 0 + 7, ENCODERS_REACT),
        (lambda p: np.full(p.shape, np.nan), BLANK),
        (lambda p: p[::8, ::8] if p.shape[0] > 200 else p, ANTIALIASING),
    ],
)
def test_a_broken_inception_is_caught(alter: Any, name: str, mini_context: DoctorContext) -> None:
    ok, detail = run_one(context_with(mini_context, "inception", BlockMeans(alter)), name)
    assert not ok, detail


@pytest.mark.parametrize("name", [FORMATS, BLANK, ANTIALIASING, BATCH, OTHERS_REACT, LPIPS_ORDER])
def test_a_sound_lpips_passes(name: str, mini_context: DoctorContext) -> None:
    ok, detail = run_one(context_with(mini_context, "lpips", BlockDistance()), name)
    assert ok, detail


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (BlockDistance(lambda d: d + 0.1), LPIPS_ORDER),
        (BlockDistance(lambda d: -d), LPIPS_ORDER),
        (BlockDistance(lambda d: d * np.nan), BLANK),
        (BlockDistance(model=BlockMeans(lambda p: p * 0)), OTHERS_REACT),
    ],
)
def test_a_broken_lpips_is_caught(model: Any, name: str, mini_context: DoctorContext) -> None:
    ok, detail = run_one(context_with(mini_context, "lpips", model), name)
    assert not ok, detail


def test_a_second_detector_that_ignores_the_image_is_caught(mini_context: DoctorContext) -> None:
    class Blind(TrueDetector):
        def find(self, images: Sequence[Any], categories: Sequence[str]) -> list[Detections]:
            return [Detections(np.array([[0.1, 0.1, 0.5, 0.5]]), np.array([0.9]), ("cat",)) for _ in images]

    ok, detail = run_one(context_with(mini_context, "second_detector", Blind(mini_context)), OTHERS_REACT)
    assert not ok
    assert "second_detector finds" in detail


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda d, image, batch_size: dataclasses.replace(d, boxes=d.boxes * 0.97), "corner (second_detector) beyond"),
        (lambda d, image, batch_size: dataclasses.replace(d, scores=d.scores - 0.05), "confidence (second_detector)"),
        (lambda d, image, batch_size: dataclasses.replace(d, labels=("tree",) * len(d.labels)), "(second_detector)"),
    ],
)
def test_drift_of_a_second_detector_is_noticed(
    alter: Any, message: str, mini_context: DoctorContext, tmp_path: Path
) -> None:
    def context_for(model: Any) -> DoctorContext:
        context = context_with(mini_context, "second_detector", model)
        return dataclasses.replace(context, entry=dataclasses.replace(context.entry, folder=tmp_path))

    store_canaries(context_for(TrueDetector(mini_context)))
    ok, detail = run_one(context_for(TrueDetector(mini_context)), DRIFT)
    assert ok, detail
    assert "corner (second_detector) 0.0e+00" in detail
    ok, detail = run_one(context_for(TrueDetector(mini_context, alter)), DRIFT)
    assert not ok
    assert message in detail


def test_the_second_detector_is_given_the_stored_categories(mini_context: DoctorContext, tmp_path: Path) -> None:
    requests: list[Sequence[str]] = []

    class RecordsCategories(TrueDetector):
        def find(self, images: Sequence[Any], categories: Sequence[str]) -> list[Detections]:
            requests.append(tuple(categories))
            return super().find(images, categories)

    context = context_with(mini_context, "second_detector", RecordsCategories(mini_context))
    context = dataclasses.replace(context, entry=dataclasses.replace(context.entry, folder=tmp_path))
    store_canaries(context)
    # Canaries with other categories: the stored categories are used again.
    run_one(dataclasses.replace(context, canaries=context.canaries[-1:]), DRIFT)
    assert requests[0] == requests[1]


def test_drift_of_inception_is_noticed(mini_context: DoctorContext, tmp_path: Path) -> None:
    def context_for(model: Any) -> DoctorContext:
        context = context_with(mini_context, "inception", model)
        return dataclasses.replace(context, entry=dataclasses.replace(context.entry, folder=tmp_path))

    store_canaries(context_for(BlockMeans()))
    assert run_one(context_for(BlockMeans()), DRIFT)[0]
    ok, detail = run_one(context_for(BlockMeans(lambda p: p[..., ::-1])), DRIFT)
    assert not ok
    assert "inception cosine beyond 0.001" in detail


def test_outputs_on_the_same_images_are_computed_once(mini_context: DoctorContext) -> None:
    model = BlockMeans()
    context = context_with(mini_context, "inception", model)
    score_fn = context.image_scorers()["inception"]
    first = score_fn(context.canary_images)
    assert (context.image_scorers()["inception"](context.canary_images) == first).all()
    assert model.calls == 1
    alone = score_fn(context.canary_images[:1])
    assert model.calls == 2, "another batch is computed again"
    assert alone == pytest.approx(first[:1])
    fresh = dataclasses.replace(context)
    fresh.image_scorers()["inception"](context.canary_images)
    assert model.calls == 3, "another context has its own cache"


def test_missing_scorers_fail_no_check(mini_context: DoctorContext) -> None:
    context = context_with(mini_context, "lpips", BlockDistance())
    results = {name: run_one(context, name) for name in all_checks()}
    assert {name for name, (ok, _) in results.items() if not ok} <= {"scorers match stored outputs"}, results
