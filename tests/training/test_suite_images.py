"""Training pictures out of suites: found by name, resized as boxes are, never under another picture's boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Sample
from layoutmark.registry import Registry
from layoutmark.suites.opening import whole_suite
from layoutmark.training.suite_images import suite_pictures


class Listed:
    """A suite of samples without pictures of their own."""

    name = "coco-few"
    version = "1"
    categories = ("dog",)
    digest = ""
    notes = ()

    def __init__(self, *samples: Sample) -> None:
        self.samples = samples

    def true_image(self, sample_id: str) -> None:
        return None

    def references(self, sample_id: str) -> dict[str, Any]:
        return {}


def sample(name: str, width: int, height: int, mask: Mask | None = None) -> Sample:
    thing = Instance("0", "a red dog", "dog", Box(0, 0, 0.5, 1), mask=mask)
    return Sample(name, "a dog on the left", Layout(Canvas(width, height), (thing,)))


def painted(path: Path, width: int, height: int) -> None:
    """Red on the left half, blue on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 255
    pixels[:, width // 2 :, 2] = 255
    Image.fromarray(pixels).save(path)


def test_files_are_found_by_the_samples_names(tmp_path: Path) -> None:
    (tmp_path / "val2017").mkdir()
    painted(tmp_path / "val2017" / "000000000139.png", 64, 32)
    painted(tmp_path / "whole-name.jpg", 64, 32)
    painted(tmp_path / "000000000007.png", 64, 64)
    whole = Mask.from_array(np.ones((32, 64), bool))
    suite = Listed(
        sample("coco-few-139", 640, 320, whole), sample("whole-name", 640, 320), sample("coco-few-8", 640, 320),
        sample("coco-few-7", 640, 320),
    )  # fmt: skip
    found, without = suite_pictures(suite, tmp_path, 16)
    assert without == 2  # one is not there, one has other proportions than its boxes
    assert found.pixels.shape == (2, 16, 16, 3)
    assert found.pixels[0].dtype == np.uint8
    assert np.array_equal(found.pixels[0:2][0], found.pixels[0])
    assert found.pixels[0][8, 2].tolist() == [255, 0, 0]  # the box's half, stretched with the picture
    assert found.pixels[0][8, 13].tolist() == [0, 0, 255]
    assert found.facts[0]["captions"] == ["a dog on the left"]
    first, second = found.layout(0).instances[0], found.layout(1).instances[0]
    assert (first.phrase, first.category, first.box, first.mask) == ("a red dog", "dog", Box(0, 0, 0.5, 1), whole)
    assert second.mask is None


def test_a_suites_own_pictures_are_taken() -> None:
    suite = whole_suite(Registry(), "mini")
    found, without = suite_pictures(suite, None, 64)
    assert (len(found.pixels), without) == (len(suite.samples), 0)
    assert np.array_equal(found.pixels[3], suite.true_image(suite.samples[3].id))


def test_without_pictures_it_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError, match=r"suite 'coco-few': found none; .* Give --pictures FOLDER"):
        suite_pictures(Listed(sample("a", 4, 4)), None, 16)
    with pytest.raises(LayoutmarkError, match="found none of its 1 samples"):
        suite_pictures(Listed(sample("a", 4, 4)), tmp_path, 16)
