"""Inputs of LocRef's encoder: composites of references at their boxes, and the references themselves."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

from layoutmark.layout import Box, Reference

composite = importlib.import_module("layoutmark.methods.locref.composite")
Pair = composite.Pair
LEFT, RIGHT, ALL = Box(0, 0.25, 0.5, 0.75), Box(0.5, 0.25, 1, 1), Box(0, 0, 1, 1)
OVER, TINY = Box(0.25, 0.25, 0.75, 0.75), Box(0.52, 0.52, 0.53, 0.53)
CENTRE = torch.zeros(16, 16, dtype=torch.bool)
CENTRE[4:12, 4:12] = True


def random_image(seed: int, height: int = 20, width: int = 30) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


# 13
@pytest.mark.parametrize("size", [(64, 64), (48, 96)])
def test_composite_contains_the_resized_references(size: tuple[int, int]) -> None:
    height, width = size
    pairs = [Pair(LEFT, random_image(0)), Pair(RIGHT, random_image(1, 50, 10))]
    painted = composite.composite(pairs, height, width)
    background = torch.ones(height, width, dtype=torch.bool)
    for pair in pairs:
        x0, y0, x1, y1 = (round(v) for v in np.array(pair.box.xyxy) * [width, height, width, height])
        assert torch.equal(painted[:, y0:y1, x0:x1], composite.fit_image(pair.image, y1 - y0, x1 - x0))
        background[y0:y1, x0:x1] = False
    assert torch.equal(painted[:, background], torch.tensor(composite.MEAN)[:, None].expand(3, int(background.sum())))
    encoder_pixels = composite.encoder_input(painted, 32)
    assert encoder_pixels.shape == (3, 32, 32)
    assert encoder_pixels[:, 0].abs().max() < 1e-5


@pytest.mark.parametrize(("canvas", "value"), [("black", 0.0), ("white", 1.0)])
def test_other_canvases(canvas: str, value: float) -> None:
    assert (composite.composite([], 4, 6, canvas=canvas) == value).all()


def test_small_boxes_are_painted_over_large_ones() -> None:
    red, blue = (torch.tensor(c).view(3, 1, 1).expand(3, 4, 4) for c in ((1.0, 0, 0), (0, 0, 1.0)))
    large, small = Pair(ALL, red), Pair(OVER, blue)
    for pairs in ([large, small], [small, large]):
        painted = composite.composite(pairs, 16, 16)
        assert torch.equal(painted[2] > 0.5, CENTRE)
    late = composite.composite([Pair(OVER, blue), Pair(OVER, red)], 16, 16)
    assert (late[0][CENTRE] > 0.9).all()


def test_tiny_box_keeps_a_pixel() -> None:
    painted = composite.composite([Pair(TINY, torch.ones(3, 9, 9))], 16, 16)
    assert int((painted == 1).all(0).sum()) == 1


@pytest.mark.parametrize(("height", "width"), [(20, 60), (60, 20), (33, 33)])
def test_encoder_sees_all_four_corners(height: int, width: int) -> None:
    image = torch.zeros(3, height, width)
    corners = (slice(0, 8), slice(-8, None))
    for rows in corners:
        for columns in corners:
            image[:, rows, columns] = 1
    pixels = composite.encoder_input(image, 32) * torch.tensor(composite.STD).view(3, 1, 1)
    pixels = pixels + torch.tensor(composite.MEAN).view(3, 1, 1)
    for row in (0, -1):
        for column in (0, -1):
            assert (pixels[:, row, column] > 0.9).all()


@pytest.mark.parametrize(("height", "width"), [(8, 24), (24, 8), (16, 1)])
def test_letterboxing_keeps_the_aspect_ratio(height: int, width: int) -> None:
    letterboxed = composite.fit_image(torch.ones(3, 10, 10), height, width, fit="letterbox", canvas="black")
    side = min(height, width)
    assert int((letterboxed[0] > 0.5).sum()) == side * side
    assert (letterboxed[0] > 0.5)[(height - 1) // 2, (width - 1) // 2]


def test_reference_areas() -> None:
    pixels = np.full((10, 12, 3), 200, np.uint8)
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:9] = True
    mask[3, 4] = False
    masked = Reference("k", "dog", pixels, mask)
    shapes = {a: tuple(composite.reference_image(masked, a).shape) for a in ("whole", "box", "segment")}
    assert shapes == {"whole": (3, 10, 12), "box": (3, 3, 6), "segment": (3, 3, 6)}
    alone = composite.reference_image(masked, "segment")
    assert alone[:, 1, 1].tolist() == pytest.approx(composite.MEAN)
    assert float(alone[0, 0, 0]) == pytest.approx(200 / 255)
    for unmasked in (Reference("k", "dog", pixels), Reference("k", "dog", pixels, np.zeros((10, 12), bool))):
        assert composite.reference_image(unmasked, "segment").shape == (3, 10, 12)
