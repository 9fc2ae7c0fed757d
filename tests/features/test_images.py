"""Image preprocessing: checks, squash, letterbox, batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import check_pixels, letterbox, normalise_rows, run_in_batches, squash


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r"float32 of shape \(4, 4, 3\)"),
        (np.zeros((3, 4, 4), np.uint8), r"uint8 of shape \(3, 4, 4\)"),
        (np.zeros((4, 4), np.uint8), r"uint8 of shape \(4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"uint8 of shape \(0, 4, 3\)"),
        (np.zeros((4, 4, 4), np.uint8), r"uint8 of shape \(4, 4, 4\)"),
        ([[0, 0, 0]], "list of shape"),
    ],
)
def test_only_rgb_uint8_is_accepted(value: object, message: str) -> None:
    expected = "expected RGB pixels, uint8 from 0 to 255"
    for check_fn in (check_pixels, lambda b: squash([b], 8, [0] * 3, [1] * 3), lambda b: letterbox(b, 8)):
        with pytest.raises(LayoutmarkError, match=f"image for a scorer: found {message}.*{expected}"):
            check_fn(value)  # type: ignore[operator]


def test_squash_normalises_each_channel() -> None:
    image = np.zeros((10, 20, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 255, 51, 0
    result = squash([image, image], 8, mean=(0.5, 0.1, 0.25), std=(0.5, 0.2, 0.5))
    assert result.shape == (2, 3, 8, 8)
    assert result.dtype == np.float32
    assert result[1, :, 3, 3] == pytest.approx([1.0, 0.5, -0.5])


def test_squash_is_pillow_bicubic_with_antialiasing(images: list[np.ndarray]) -> None:
    """Reduced to a quarter, thin lines turn grey; without antialiasing they would stay lines."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    result = squash([stripes], 16, (0, 0, 0), (1, 1, 1))
    assert np.abs(result[0, 0, :, 2:-2] - 0.5).max() < 0.03
    expected = np.asarray(Image.fromarray(images[2]).resize((16, 16), Image.Resampling.BICUBIC)) / 255
    assert squash([images[2]], 16, (0, 0, 0), (1, 1, 1))[0].transpose(1, 2, 0) == pytest.approx(expected, abs=1e-6)


def test_squash_of_no_images() -> None:
    assert squash([], 8, (0, 0, 0), (1, 1, 1)).shape == (0, 3, 8, 8)


def test_letterbox_keeps_the_aspect_and_returns_the_placement() -> None:
    image = np.full((10, 20, 3), 200, np.uint8)
    result, placement = letterbox(image, 40)
    assert placement == (0.0, 10.0, 40.0, 20.0)
    assert result.shape == (3, 40, 40)
    assert result[:, 10:30].min() == result[:, 10:30].max() == pytest.approx(200 / 255)
    assert result[:, :10].min() == result[:, 30:].max() == pytest.approx(114 / 255)
    assert letterbox(image.transpose(1, 0, 2), 40)[1] == (10.0, 0.0, 20.0, 40.0)
    assert letterbox(np.zeros((1, 500, 3), np.uint8), 40)[1] == (0.0, 19.0, 40.0, 1.0)


def test_batches_have_a_fixed_size() -> None:
    shapes = []

    def run(batch: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(batch.shape))
        return batch.sum(dim=1)

    inputs = torch.arange(14.0).reshape(7, 2)
    assert torch.equal(run_in_batches(run, inputs, 3), inputs.sum(dim=1))
    assert shapes == [(3, 2)] * 3


def test_rows_are_normalised_without_division_by_zero() -> None:
    result = normalise_rows(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    assert result.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]
    assert result.dtype == np.float32
