"""How pictures reach a model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from layoutmark.errors import LayoutmarkError
from layoutmark.features.images import checked, in_batches, letterboxed, squashed, unit


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (np.zeros((4, 4, 3), np.float32), r"float32 of shape \(4, 4, 3\)"),
        (np.zeros((3, 4, 4), np.uint8), r"uint8 of shape \(3, 4, 4\)"),
        (np.zeros((4, 4), np.uint8), r"uint8 of shape \(4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"uint8 of shape \(0, 4, 3\)"),
        (np.zeros((4, 4, 4), np.uint8), r"uint8 of shape \(4, 4, 4\)"),
        ([[0, 0, 0]], "list of shape"),
    ],
)
def test_anything_but_rgb_bytes_is_refused(bad: object, found: str) -> None:
    expected = "expected RGB pixels, uint8 from 0 to 255"
    for door in (checked, lambda b: squashed([b], 8, [0] * 3, [1] * 3), lambda b: letterboxed(b, 8)):
        with pytest.raises(LayoutmarkError, match=f"image for a scorer: found {found}.*{expected}"):
            door(bad)  # type: ignore[operator]


def test_squash_normalises_each_channel() -> None:
    picture = np.zeros((10, 20, 3), np.uint8)
    picture[..., 0], picture[..., 1], picture[..., 2] = 255, 51, 0
    found = squashed([picture, picture], 8, mean=(0.5, 0.1, 0.25), std=(0.5, 0.2, 0.5))
    assert found.shape == (2, 3, 8, 8)
    assert found.dtype == np.float32
    assert found[1, :, 3, 3] == pytest.approx([1.0, 0.5, -0.5])


def test_squash_is_pillow_bicubic_with_antialiasing(pictures: list[np.ndarray]) -> None:
    """Down to a quarter, thin lines turn grey; without antialiasing they stay lines."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    found = squashed([stripes], 16, (0, 0, 0), (1, 1, 1))
    assert np.abs(found[0, 0, :, 2:-2] - 0.5).max() < 0.03
    whole = np.asarray(Image.fromarray(pictures[2]).resize((16, 16), Image.Resampling.BICUBIC)) / 255
    assert squashed([pictures[2]], 16, (0, 0, 0), (1, 1, 1))[0].transpose(1, 2, 0) == pytest.approx(whole, abs=1e-6)


def test_squash_of_nothing() -> None:
    assert squashed([], 8, (0, 0, 0), (1, 1, 1)).shape == (0, 3, 8, 8)


def test_letterbox_keeps_the_aspect_and_says_where() -> None:
    picture = np.full((10, 20, 3), 200, np.uint8)
    found, place = letterboxed(picture, 40)
    assert place == (0.0, 10.0, 40.0, 20.0)
    assert found.shape == (3, 40, 40)
    assert found[:, 10:30].min() == found[:, 10:30].max() == pytest.approx(200 / 255)
    assert found[:, :10].min() == found[:, 30:].max() == pytest.approx(114 / 255)
    assert letterboxed(picture.transpose(1, 0, 2), 40)[1] == (10.0, 0.0, 20.0, 40.0)
    assert letterboxed(np.zeros((1, 500, 3), np.uint8), 40)[1] == (0.0, 19.0, 40.0, 1.0)


def test_batches_have_one_shape() -> None:
    shapes = []

    def run(batch: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(batch.shape))
        return batch.sum(dim=1)

    inputs = torch.arange(14.0).reshape(7, 2)
    assert torch.equal(in_batches(run, inputs, 3), inputs.sum(dim=1))
    assert shapes == [(3, 2)] * 3


def test_unit_length_and_no_division_by_zero() -> None:
    found = unit(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    assert found.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]
    assert found.dtype == np.float32
