"""Distances of sets: what is known by construction, resampling against writing copies out, and scipy's matrix root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from scipy.linalg import sqrtm

from layoutmark.compare import result_row
from layoutmark.evidence import Evidence
from layoutmark.metrics import SetMetric, all_metrics
from layoutmark.metrics.distances import BLOCK, LEAST, frechet_distance, kernel_distances
from layoutmark.score import Status, Unscored

Make = Callable[..., Evidence]
WIDTH = 6


@pytest.fixture
def offered(scorers: dict[str, str]) -> dict[str, Any]:
    return {m.info.name: m for m in all_metrics(scorers)}


def unit(rng: np.random.Generator, centre: float) -> np.ndarray:
    vector = rng.normal(size=WIDTH) + centre
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def row(make: Make, centre: float, samples: int = 30, seeds: int = 1, seed: int = 0) -> list[Evidence]:
    rng = np.random.default_rng(seed)
    true = [unit(np.random.default_rng(1000 + k), 0.0) for k in range(samples)]
    return [
        make([], [], id=f"s{k:03d}", seed=s, vectors={"dino/image": unit(rng, centre), "dino/true-image": true[k]})
        for k in range(samples)
        for s in range(seeds)
    ]


def value(metric: SetMetric, images: Sequence[Evidence]) -> float:
    found = metric.summarise(images).value
    assert found is not None
    return found


def test_nearer_is_lower_and_the_same_distribution_is_near_zero(make: Make, offered) -> None:
    kid = offered["kid_dino"]
    values = [value(kid, row(make, centre, 1000)) for centre in (0.0, 0.3, 0.6, 1.2)]
    assert values == sorted(values)
    assert abs(values[0]) < 0.02
    assert values[-1] > 0.5
    assert isinstance(kid, SetMetric)


def test_order_and_batch_do_not_matter(make: Make, offered) -> None:
    images = row(make, 0.4, seeds=2)
    shuffled = [images[k] for k in np.random.default_rng(3).permutation(len(images))]
    assert value(offered["kid_dino"], shuffled) == pytest.approx(value(offered["kid_dino"], images), abs=1e-12)


def test_copies_of_an_image_are_not_compared_with_one_another(make: Make, offered) -> None:
    kid, images = offered["kid_dino"], row(make, 0.4, 8)
    weights = np.array([[1] * 8, [2, 0, 1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0, 0, 0]])
    drawn = kid.resampled(images, weights)
    assert drawn[0] == pytest.approx(value(kid, images), abs=1e-12)
    assert np.isnan(drawn[2])
    seen, true = ([e.vectors[f"dino/{w}image"].astype(float) for e in images] for w in ("", "true-"))
    expected = {}
    for name, a, b, own in (("xx", seen, seen, True), ("yy", true, true, True), ("xy", seen, true, False)):
        pairs = [(i, j) for i in range(8) for j in range(8) if not own or i != j]
        weight = [weights[1][i] * weights[1][j] for i, j in pairs]
        expected[name] = np.average([(a[i] @ b[j] + 1) ** 3 for i, j in pairs], weights=weight)
    assert drawn[1] == pytest.approx(expected["xx"] + expected["yy"] - 2 * expected["xy"], abs=1e-9)


def test_large_sets_are_worked_on_in_parts() -> None:
    rng = np.random.default_rng(0)
    seen, true = rng.normal(size=(BLOCK + 40, 3)), rng.normal(size=(50, 3))
    few = kernel_distances(seen[:40], true, np.ones((1, 40), int), np.ones((1, 50), int))
    weights = np.zeros((1, BLOCK + 40), int)
    weights[:, BLOCK:] = 1
    moved = np.concatenate([seen[40:], seen[:40]])
    assert kernel_distances(moved, true, weights, np.ones((1, 50), int)) == pytest.approx(few, rel=1e-12)


def test_what_cannot_be_told_says_why(make: Make, offered) -> None:
    kid, images = offered["kid_dino"], row(make, 0.0)
    itself = [make([], [], id=e.sample.id, vectors={f"dino/{w}image": e.vectors["dino/image"] for w in ("", "true-")})
              for e in images]  # fmt: skip
    assert kid.summarise(itself).unscored == {"true images against themselves": 30}
    assert kid.summarise(images[:1]).unscored == {"fewer than two pictures or true images": 1}
    assert kid.summarise([make([], []), *images]).unscored == {"no dino/image stored": 1}
    assert kid.summarise([make([], [], status=Status.FAILED)]).unscored == {"failed": 1}
    assert (kid.summarise([]).value, kid.summarise([]).of) == (None, 0)
    assert {o.outcome for o in kid.outcomes(images)} == {Unscored("a value of the set")}
    assert offered["fid_dino"].summarise(images).unscored == {"fewer than 2,048 pictures or true images": 30}


def test_few_pictures_are_said_to_be_few(make: Make, offered) -> None:
    few = result_row("m", offered["kid_dino"], row(make, 0.3), [])
    assert few["caution"] == "noisy: 30 pictures, 2,048 and more are usual"
    assert few["value"] is not None
    assert offered["kid_dino"].summarise(row(make, 0.3, samples=LEAST)).caution == ""


def test_frechet_distance_is_told_of_many_and_has_no_interval(make: Make, offered) -> None:
    near, far = (row(make, centre, LEAST) for centre in (0.1, 0.8))
    values = [value(offered["fid_dino"], images) for images in (near, far)]
    assert 0 < values[0] < values[1]
    assert np.isnan(offered["fid_dino"].resampled(near, np.ones((3, LEAST), int))).all()


def test_frechet_distance_against_the_matrix_root() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(80, 5)), rng.normal(size=(90, 5)) @ rng.normal(size=(5, 5)) + 0.5
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)
    flat = np.concatenate([a, np.zeros((80, 1))], axis=1)
    assert frechet_distance(flat, flat + 1.0) == pytest.approx(6.0, abs=1e-6), "a number that never varies"
