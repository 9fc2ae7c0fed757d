"""Leakage matrix of a run: means by category, and no invented values."""

import numpy as np
import pytest

from layoutmark.evidence import CropEvidence, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics.leakage import leakage_matrix
from layoutmark.score import Status


def make_image(crops: dict[str, tuple[list[float], list[float]]], sample: str = "s") -> Evidence:
    """One image with a crop vector and a reference vector per category."""
    box = Box(0.1, 0.1, 0.5, 0.5)
    instances = tuple(Instance(c, f"a {c}", c, box, reference=f"{c}-r") for c in crops)
    layout = Layout(Canvas(64, 64), instances)
    crop_evidence = tuple(
        CropEvidence(
            c, {"dino/target-crop": np.array(crop, np.float32), "dino/reference": np.array(reference, np.float32)}
        )
        for c, (crop, reference) in crops.items()
    )
    return Evidence(Sample(sample, "a prompt", layout), 0, Status.OK, crops=crop_evidence)


def test_own_and_others_are_separate() -> None:
    swapped = {"dog": ([0.0, 1.0], [1.0, 0.0]), "cat": ([1.0, 0.0], [0.0, 1.0])}
    matrix = leakage_matrix([make_image(swapped)], "dino")
    assert matrix is not None
    assert matrix["categories"] == ["cat", "dog"]
    assert matrix["own"] == [[pytest.approx(0.0), 1], [pytest.approx(0.0), 1]]
    assert matrix["others"][0] == [[None, 0], [pytest.approx(1.0), 1]]


def test_means_are_over_all_images_and_frequent_categories_come_first() -> None:
    images = [make_image({"dog": ([1.0, 0.0], [1.0, 0.0])}), make_image({"dog": ([0.0, 1.0], [1.0, 0.0])}, "t")]
    images.append(make_image({"cat": ([1.0, 0.0], [1.0, 0.0])}, "u"))
    matrix = leakage_matrix(images, "dino")
    assert matrix is not None
    assert matrix["categories"] == ["dog", "cat"]
    assert matrix["own"][0] == [pytest.approx(0.5), 2]


def test_nothing_to_compare_is_none() -> None:
    assert leakage_matrix([], "dino") is None
    assert leakage_matrix([make_image({"dog": ([1.0, 0.0], [1.0, 0.0])})], "clip") is None
