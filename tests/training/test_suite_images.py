"""Training images from suites: matched by name, resized like their boxes, never paired with boxes of another shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from layoutmark.errors import LayoutmarkError
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Sample
from layoutmark.registry import Registry
from layoutmark.suites.opening import open_full_suite
from layoutmark.training.suite_images import load_suite_images


class SuiteWithoutImages:
    """A suite of samples without images."""

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


def write_image(path: Path, width: int, height: int) -> None:
    """Red on the left half, blue on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 255
    pixels[:, width // 2 :, 2] = 255
    Image.fromarray(pixels).save(path)


def test_files_are_matched_by_sample_id(tmp_path: Path) -> None:
    (tmp_path / "val2017").mkdir()
    write_image(tmp_path / "val2017" / "000000000139.png", 64, 32)
    write_image(tmp_path / "whole-name.jpg", 64, 32)
    write_image(tmp_path / "000000000007.png", 64, 64)
    full_mask = Mask.from_array(np.ones((32, 64), bool))
    suite = SuiteWithoutImages(
        sample("coco-few-139", 640, 320, full_mask), sample("whole-name", 640, 320), sample("coco-few-8", 640, 320),
        sample("coco-few-7", 640, 320),
    )  # fmt: skip
    images, without = load_suite_images(suite, tmp_path, 16)
    assert without == 2  # one file is missing, one has another aspect ratio than its canvas
    assert images.pixels.shape == (2, 16, 16, 3)
    assert images.pixels[0].dtype == np.uint8
    assert np.array_equal(images.pixels[0:2][0], images.pixels[0])
    assert images.pixels[0][8, 2].tolist() == [255, 0, 0]  # the half with the box, stretched with the image
    assert images.pixels[0][8, 13].tolist() == [0, 0, 255]
    assert images.annotations[0]["captions"] == ["a dog on the left"]
    first, second = images.layout(0).instances[0], images.layout(1).instances[0]
    assert (first.phrase, first.category, first.box, first.mask) == ("a red dog", "dog", Box(0, 0, 0.5, 1), full_mask)
    assert second.mask is None


def test_images_of_the_suite_are_used() -> None:
    suite = open_full_suite(Registry(), "mini")
    images, without = load_suite_images(suite, None, 64)
    assert (len(images.pixels), without) == (len(suite.samples), 0)
    assert np.array_equal(images.pixels[3], suite.true_image(suite.samples[3].id))


def test_error_without_images_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError, match=r"suite 'coco-few': found none; .* Pass --images FOLDER"):
        load_suite_images(SuiteWithoutImages(sample("a", 4, 4)), None, 16)
    with pytest.raises(LayoutmarkError, match="found none of its 1 samples"):
        load_suite_images(SuiteWithoutImages(sample("a", 4, 4)), tmp_path, 16)
