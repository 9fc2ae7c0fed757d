"""Fidelity, alignment and quality from stored vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from layoutmark.api import Metric
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import CropEvidence, Evidence
from layoutmark.metrics import all_metrics, summarise_metric
from layoutmark.metrics.cosine import cosine
from layoutmark.score import Score, Status, Unscored

Make = Callable[..., Evidence]
BOX = (0.1, 0.1, 0.5, 0.5)
CROP_METRICS = {
    "clip_i": ("clip/target-crop", "clip/reference"),
    "clip_i_detected": ("clip/detected-crop", "clip/reference"),
    "dino": ("dino/target-crop", "dino/reference"),
    "dino_detected": ("dino/detected-crop", "dino/reference"),
    "clip_t_phrase": ("clip/target-crop", "clip/phrase"),
}
AT_60 = np.array([0.5, np.sqrt(0.75), 0], np.float32)
EAST, NORTH = np.array([1, 0, 0], np.float32), np.array([0, 1, 0], np.float32)


@pytest.fixture
def metric_by_name(scorers: dict[str, str]) -> dict[str, Metric]:
    return {m.info.name: m for m in all_metrics(scorers)}


@pytest.mark.parametrize("name", CROP_METRICS)
def test_each_metric_reads_its_own_two_vectors(name: str, make: Make, metric_by_name: dict[str, Metric]) -> None:
    """All other vectors point elsewhere, so reading a wrong one is detected."""
    others = {key: NORTH for pair in CROP_METRICS.values() for key in pair}
    crop_key, reference_key = CROP_METRICS[name]
    crop = CropEvidence("i0", {**others, crop_key: AT_60, reference_key: EAST})
    (outcome,) = metric_by_name[name].outcomes([make([("cat", BOX)], crops=[crop])])
    assert isinstance(outcome.outcome, Score)
    assert outcome.outcome.value == pytest.approx(0.5, abs=1e-7)


@pytest.mark.parametrize("name", CROP_METRICS)
def test_better_is_higher_and_perfect_is_one(name: str, make: Make, metric_by_name: dict[str, Metric]) -> None:
    crop_key, reference_key = CROP_METRICS[name]
    values = []
    for vector in (EAST, AT_60, NORTH, -EAST):
        crop = CropEvidence("i0", {crop_key: vector, reference_key: EAST})
        values.append(summarise_metric(metric_by_name[name], [make([("cat", BOX)], crops=[crop])]).value)
    assert values == pytest.approx([1.0, 0.5, 0.0, -1.0], abs=1e-7)


def test_an_image_is_the_mean_of_its_scored_instances(make: Make, metric_by_name: dict[str, Metric]) -> None:
    crops = [
        CropEvidence("i2", {"dino/detected-crop": AT_60, "dino/reference": EAST}),
        CropEvidence("i0", {"dino/detected-crop": EAST, "dino/reference": EAST}),
        CropEvidence("i1", {"dino/reference": EAST}, {"dino/detected-crop": "not detected"}),
    ]
    (outcome,) = metric_by_name["dino_detected"].outcomes([make([("cat", BOX)] * 3, crops=crops)])
    assert [i.instance for i in outcome.instances] == ["i0", "i1", "i2"]
    assert outcome.instances[0].outcome == Score(1.0)
    assert outcome.instances[1].outcome == Unscored("not detected")
    assert isinstance(outcome.outcome, Score)
    assert outcome.outcome.value == pytest.approx(0.75)


def test_unscored_images_have_a_reason(make: Make, metric_by_name: dict[str, Metric]) -> None:
    absent = CropEvidence("i0", {"clip/reference": EAST}, {"clip/detected-crop": "not detected"})
    without_reference = CropEvidence("i0", {"clip/detected-crop": EAST}, {"clip/reference": "no reference"})
    evidence = [
        make([("cat", BOX)], crops=[absent], id="a"),
        make([("cat", BOX)], crops=[without_reference], references=False, id="b"),
        make([("cat", BOX)], id="c"),
        make([], id="d"),
        make([("cat", BOX)], crops=[CropEvidence("i0", {"clip/detected-crop": EAST})], id="e"),
        make([("cat", BOX)], None, id="f", status=Status.NOT_APPLICABLE),
    ]
    summary = summarise_metric(metric_by_name["clip_i_detected"], evidence)
    assert (summary.value, summary.n, summary.requested) == (None, 0, 6)
    assert summary.unscored == {
        "not detected": 1, "no reference": 1, "no crop features stored": 1, "no targets": 1,
        "no clip/reference stored": 1, "not_applicable": 1,
    }  # fmt: skip
    assert metric_by_name["clip_i"].outcomes([]) == []


def test_a_reference_vector_counts_without_a_portrait(make: Make, metric_by_name: dict[str, Metric]) -> None:
    """The crop of the true image may serve as reference for an instance without a portrait."""
    crop = CropEvidence("i0", {"dino/target-crop": AT_60, "dino/reference": EAST})
    summary = summarise_metric(metric_by_name["dino"], [make([("cat", BOX)], crops=[crop], references=False)])
    assert summary.value == pytest.approx(0.5, abs=1e-7)


def test_phrases_need_no_reference(make: Make, metric_by_name: dict[str, Metric]) -> None:
    crop = CropEvidence("i0", {"clip/target-crop": EAST, "clip/phrase": EAST})
    (outcome,) = metric_by_name["clip_t_phrase"].outcomes([make([("cat", BOX)], crops=[crop], references=False)])
    assert outcome.outcome == Score(1.0)


def test_whole_image_and_prompt(make: Make, metric_by_name: dict[str, Metric]) -> None:
    evidence = [
        make([], vectors={"clip/image": AT_60, "clip/prompt": EAST}, id="a"),
        make([], vectors={"clip/image": -EAST, "clip/prompt": EAST}, id="b"),
        make([], vectors={"clip/image": EAST}, id="c"),
        make([], id="d", status=Status.FAILED),
    ]
    outcomes = metric_by_name["clip_t"].outcomes(evidence)
    summary = summarise_metric(metric_by_name["clip_t"], evidence)
    assert summary.value == pytest.approx(-0.25, abs=1e-7)
    assert (summary.n, summary.requested, summary.unscored) == (2, 4, {"failed": 1, "no clip/prompt stored": 1})
    assert metric_by_name["clip_t"].outcomes(evidence[::-1]) == outcomes[::-1]
    assert summarise_metric(metric_by_name["clip_t"], evidence[::-1]) == summary


def test_quality_is_the_stored_probability(make: Make, metric_by_name: dict[str, Metric]) -> None:
    evidence = [make([], quality={"clip-iqa": 0.25}), make([], quality={"clip-iqa": 1.0}), make([])]
    summary = summarise_metric(metric_by_name["clip_iqa"], [*evidence, make([], status=Status.MISSING)])
    assert (summary.value, summary.n, summary.requested) == (0.625, 2, 4)
    assert summary.unscored == {"missing": 1, "no clip-iqa stored": 1}
    with pytest.raises(
        LayoutmarkError, match=r"clip-iqa of sample 's': found 1\.5; expected a probability in \[0, 1\]"
    ):
        metric_by_name["clip_iqa"].outcomes([make([], quality={"clip-iqa": 1.5})])


def test_cosine_normalises_its_vectors() -> None:
    vectors = {"a": 3 * EAST, "b": 7 * AT_60, "zero": 0 * EAST, "nan": np.full(3, np.nan, np.float32)}
    outcome = cosine(vectors, {}, "a", "b")
    assert isinstance(outcome, Score)
    assert outcome.value == pytest.approx(0.5, abs=1e-7)
    for key in ("zero", "nan"):
        assert cosine(vectors, {}, "a", key) == Unscored("a feature vector is zero or not finite")


def test_cosine_stays_in_range() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        v = rng.normal(size=31).astype(np.float32)
        outcome = cosine({"a": v, "b": v}, {}, "a", "b")
        assert isinstance(outcome, Score)
        assert 1 - 1e-12 < outcome.value <= 1.0


def test_variants_name_the_crop_and_the_model(metric_by_name: dict[str, Metric]) -> None:
    assert (
        metric_by_name["clip_i"].info.variant == "clip_i[target-box crop, no padding, cosine with reference, tiny-clip]"
    )
    assert metric_by_name["dino"].info.variant == "dino[target-box crop, no padding, cosine with reference, tiny-vit]"
    detected = metric_by_name["dino_detected"].info.variant
    for fragment in ("detected crop", "generalised IoU", "conf>=0.25", "tiny-yolo", "tiny-vit"):
        assert fragment in detected
    variant_by_name = {m.info.name: m.info.variant for m in all_metrics({"dino": "v", "reference": "portrait"})}
    assert variant_by_name["dino"] == "dino[target-box crop, no padding, cosine with portrait, v]"
    assert metric_by_name["clip_t"].info.variant == "clip_t[whole image, cosine with prompt, tiny-clip]"
    assert metric_by_name["clip_iqa"].info.variant == "clip_iqa[whole image, tiny-iqa]"
