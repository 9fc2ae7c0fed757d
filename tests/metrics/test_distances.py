"""Distances between sets: known answers, resampling against explicit copies, and scipy's matrix root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from scipy.linalg import sqrtm

from layoutmark.compare import result_row
from layoutmark.evidence import Evidence
from layoutmark.metrics import SetMetric, all_metrics
from layoutmark.metrics.distances import KERNEL_BLOCK_ROWS, MIN_IMAGES_FOR_FID, frechet_distance, kernel_distances
from layoutmark.score import Status, Unscored

Make = Callable[..., Evidence]
WIDTH = 6


@pytest.fixture
def metric_by_name(scorers: dict[str, str]) -> dict[str, Any]:
    return {m.info.name: m for m in all_metrics(scorers)}


def unit_vector(rng: np.random.Generator, centre: float) -> np.ndarray:
    vector = rng.normal(size=WIDTH) + centre
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def make_images(make: Make, centre: float, samples: int = 30, seeds: int = 1, seed: int = 0) -> list[Evidence]:
    rng = np.random.default_rng(seed)
    true = [unit_vector(np.random.default_rng(1000 + k), 0.0) for k in range(samples)]
    return [
        make(
            [],
            [],
            id=f"s{k:03d}",
            seed=s,
            vectors={"dino/image": unit_vector(rng, centre), "dino/true-image": true[k]},
        )
        for k in range(samples)
        for s in range(seeds)
    ]


def value_of(metric: SetMetric, images: Sequence[Evidence]) -> float:
    value = metric.summarise(images).value
    assert value is not None
    return value


def test_nearer_is_lower_and_the_same_distribution_is_near_zero(make: Make, metric_by_name) -> None:
    kid = metric_by_name["kid_dino"]
    values = [value_of(kid, make_images(make, centre, 1000)) for centre in (0.0, 0.3, 0.6, 1.2)]
    assert values == sorted(values)
    assert abs(values[0]) < 0.02
    assert values[-1] > 0.5
    assert isinstance(kid, SetMetric)


def test_order_and_batch_do_not_matter(make: Make, metric_by_name) -> None:
    images = make_images(make, 0.4, seeds=2)
    shuffled = [images[k] for k in np.random.default_rng(3).permutation(len(images))]
    kid = metric_by_name["kid_dino"]
    assert value_of(kid, shuffled) == pytest.approx(value_of(kid, images), abs=1e-12)


def test_copies_of_an_image_are_not_compared_with_each_other(make: Make, metric_by_name) -> None:
    kid, images = metric_by_name["kid_dino"], make_images(make, 0.4, 8)
    weights = np.array([[1] * 8, [2, 0, 1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0, 0, 0]])
    resampled = kid.resampled_values(images, weights)
    assert resampled[0] == pytest.approx(value_of(kid, images), abs=1e-12)
    assert np.isnan(resampled[2])
    generated, true = ([e.vectors[f"dino/{w}image"].astype(float) for e in images] for w in ("", "true-"))
    expected = {}
    sets = {"xx": (generated, generated), "yy": (true, true), "xy": (generated, true)}
    for name, (a, b) in sets.items():
        pairs = [(i, j) for i in range(8) for j in range(8) if a is not b or i != j]
        weight = [weights[1][i] * weights[1][j] for i, j in pairs]
        expected[name] = np.average([(a[i] @ b[j] + 1) ** 3 for i, j in pairs], weights=weight)
    assert resampled[1] == pytest.approx(expected["xx"] + expected["yy"] - 2 * expected["xy"], abs=1e-9)


def test_large_sets_are_processed_in_blocks() -> None:
    rng = np.random.default_rng(0)
    generated, true = rng.normal(size=(KERNEL_BLOCK_ROWS + 40, 3)), rng.normal(size=(50, 3))
    few = kernel_distances(generated[:40], true, np.ones((1, 40), int), np.ones((1, 50), int))
    weights = np.zeros((1, KERNEL_BLOCK_ROWS + 40), int)
    weights[:, KERNEL_BLOCK_ROWS:] = 1
    reordered = np.concatenate([generated[40:], generated[:40]])
    assert kernel_distances(reordered, true, weights, np.ones((1, 50), int)) == pytest.approx(few, rel=1e-12)


def test_unscored_distances_have_a_reason(make: Make, metric_by_name) -> None:
    kid, images = metric_by_name["kid_dino"], make_images(make, 0.0)
    true_images_as_generated = [
        make([], [], id=e.sample.id, vectors={f"dino/{w}image": e.vectors["dino/image"] for w in ("", "true-")})
        for e in images
    ]
    assert kid.summarise(true_images_as_generated).unscored == {"true images against themselves": 30}
    assert kid.summarise(images[:1]).unscored == {"fewer than two images or true images": 1}
    assert kid.summarise([make([], []), *images]).unscored == {"no dino/image stored": 1}
    assert kid.summarise([make([], [], status=Status.FAILED)]).unscored == {"failed": 1}
    assert (kid.summarise([]).value, kid.summarise([]).requested) == (None, 0)
    assert {o.outcome for o in kid.outcomes(images)} == {Unscored("a value of the set")}
    assert metric_by_name["fid_dino"].summarise(images).unscored == {"fewer than 2,048 images or true images": 30}


def test_few_images_give_a_caution(make: Make, metric_by_name) -> None:
    few = result_row("m", metric_by_name["kid_dino"], make_images(make, 0.3), [])
    assert few["caution"] == "noisy: 30 images, 2,048 and more are usual"
    assert few["value"] is not None
    assert metric_by_name["kid_dino"].summarise(make_images(make, 0.3, samples=MIN_IMAGES_FOR_FID)).caution == ""


def test_frechet_distance_needs_many_images_and_has_no_interval(make: Make, metric_by_name) -> None:
    near, far = (make_images(make, centre, MIN_IMAGES_FOR_FID) for centre in (0.1, 0.8))
    values = [value_of(metric_by_name["fid_dino"], images) for images in (near, far)]
    assert 0 < values[0] < values[1]
    assert np.isnan(metric_by_name["fid_dino"].resampled_values(near, np.ones((3, MIN_IMAGES_FOR_FID), int))).all()


def test_frechet_distance_against_the_matrix_root() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(80, 5)), rng.normal(size=(90, 5)) @ rng.normal(size=(5, 5)) + 0.5
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)
    with_constant = np.concatenate([a, np.zeros((80, 1))], axis=1)
    # The last component never varies.
    assert frechet_distance(with_constant, with_constant + 1.0) == pytest.approx(6.0, abs=1e-6)
