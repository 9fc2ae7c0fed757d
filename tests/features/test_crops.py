"""Crops: which pixels they contain, never empty, never padded."""

from __future__ import annotations

import numpy as np
import pytest

from layoutmark.evidence import Detections
from layoutmark.features.crops import crop, detected_boxes, detected_crops, target_crops
from layoutmark.layout import Box, Canvas, Instance, Layout


@pytest.fixture
def numbered_image() -> np.ndarray:
    """Return an image whose pixel (y, x) is (y, x, 7)."""
    y, x = np.mgrid[:32, :48]
    return np.stack([y, x, np.full_like(x, 7)], axis=-1).astype(np.uint8)


def crop_corners(cropped: np.ndarray) -> tuple[int, int, int, int]:
    """Return the first and last pixel of a crop of the numbered image: x0, y0, x1, y1."""
    return int(cropped[0, 0, 1]), int(cropped[0, 0, 0]), int(cropped[-1, -1, 1]), int(cropped[-1, -1, 0])


def test_a_crop_is_the_whole_pixels_that_contain_the_box(numbered_image: np.ndarray) -> None:
    assert crop_corners(crop(numbered_image, Box(0.25, 0.25, 0.5, 0.75))) == (12, 8, 23, 23)
    assert crop_corners(crop(numbered_image, Box(0.26, 0.24, 0.51, 0.76))) == (12, 7, 24, 24)
    assert crop_corners(crop(numbered_image, Box(0, 0, 1, 1))) == (0, 0, 47, 31)


def test_a_crop_is_at_least_two_by_two_inside_the_image(numbered_image: np.ndarray) -> None:
    assert crop_corners(crop(numbered_image, Box(0.5, 0.5, 0.5001, 0.5001))) == (24, 16, 25, 17)
    assert crop_corners(crop(numbered_image, Box(0.9999, 0.9999, 1, 1))) == (46, 30, 47, 31)
    assert crop(np.zeros((1, 1, 3), np.uint8), Box(0, 0, 1, 1)).shape == (1, 1, 3)


def test_a_crop_is_a_copy(numbered_image: np.ndarray) -> None:
    cropped = crop(numbered_image, Box(0, 0, 0.5, 0.5))
    cropped[:] = 0
    assert numbered_image[..., 2].min() == 7


def test_a_mirrored_image_and_box_give_the_mirrored_crop(numbered_image: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        x0, y0 = rng.uniform(0, 0.6, 2)
        w, h = rng.uniform(0.05, 0.4, 2)
        box = Box(x0, y0, x0 + w, y0 + h)
        assert np.array_equal(crop(numbered_image[:, ::-1], box.flipped()), crop(numbered_image, box)[:, ::-1])


def test_detected_crops_follow_the_detections(numbered_image: np.ndarray) -> None:
    left, right, moved = (0.0, 0.0, 0.25, 0.5), (0.75, 0.5, 1.0, 1.0), (0.5, 0.5, 0.75, 1.0)
    layout = Layout(
        Canvas(48, 32),
        (
            Instance("a", "a cat", "cat", Box(*right)),
            Instance("b", "a cat", "cat", Box(*left)),
            Instance("c", "a dog", "dog", Box(*left)),
        ),
    )
    detections = Detections(np.array([left, moved, left]), np.array([0.9, 0.5, 0.2]), ("cat", "cat", "dog"))
    assert detected_boxes(layout, detections) == [Box(*moved), Box(*left), None]
    a, b, c = detected_crops(numbered_image, layout, detections)
    assert a is not None
    assert b is not None
    assert crop_corners(a) == (24, 16, 35, 31)
    assert crop_corners(b) == (0, 0, 11, 15)
    assert c is None
    assert [crop_corners(t) for t in target_crops(numbered_image, layout)] == [
        (36, 16, 47, 31),
        (0, 0, 11, 15),
        (0, 0, 11, 15),
    ]
