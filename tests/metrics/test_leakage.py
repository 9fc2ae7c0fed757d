"""Whose look each place has, over a run: means by category, nothing made up."""

import numpy as np
import pytest

from layoutmark.evidence import CropEvidence, Evidence
from layoutmark.layout import Box, Canvas, Instance, Layout, Sample
from layoutmark.metrics.leakage import leakage
from layoutmark.score import Status


def seen(crops: dict[str, tuple[list[float], list[float]]], sample: str = "s") -> Evidence:
    """One image; per category the crop's vector and the reference's."""
    box = Box(0.1, 0.1, 0.5, 0.5)
    instances = tuple(Instance(c, f"a {c}", c, box, reference=f"{c}-r") for c in crops)
    layout = Layout(Canvas(64, 64), instances)
    kept = tuple(
        CropEvidence(
            c, {"dino/target-crop": np.array(crop, np.float32), "dino/reference": np.array(reference, np.float32)}
        )
        for c, (crop, reference) in crops.items()
    )
    return Evidence(Sample(sample, "a prompt", layout), 0, Status.OK, crops=kept)


def test_own_and_others_stand_apart() -> None:
    swapped = {"dog": ([0.0, 1.0], [1.0, 0.0]), "cat": ([1.0, 0.0], [0.0, 1.0])}
    found = leakage([seen(swapped)], "dino")
    assert found is not None
    assert found["categories"] == ["cat", "dog"]
    assert found["own"] == [[pytest.approx(0.0), 1], [pytest.approx(0.0), 1]]
    assert found["others"][0] == [[None, 0], [pytest.approx(1.0), 1]]


def test_means_are_over_all_images_and_frequent_categories_come_first() -> None:
    pictures = [seen({"dog": ([1.0, 0.0], [1.0, 0.0])}), seen({"dog": ([0.0, 1.0], [1.0, 0.0])}, "t")]
    pictures.append(seen({"cat": ([1.0, 0.0], [1.0, 0.0])}, "u"))
    found = leakage(pictures, "dino")
    assert found is not None
    assert found["categories"] == ["dog", "cat"]
    assert found["own"][0] == [pytest.approx(0.5), 2]


def test_nothing_to_compare_is_none() -> None:
    assert leakage([], "dino") is None
    assert leakage([seen({"dog": ([1.0, 0.0], [1.0, 0.0])})], "clip") is None
