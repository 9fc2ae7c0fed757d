"""The renderer beside plain twins: resampling by loops, distances by scipy, a second canvas size."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from layoutmark.datasets.mini import build, compose, marks, suites, world
from layoutmark.datasets.mini.deterministic import Draw, resized


def averaged(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area average by loops over pixels with exact fractions, rounded half up."""
    rows, columns, channels = image.shape
    out = np.zeros((height, width, channels), dtype=np.int64)
    for y in range(height):
        for x in range(width):
            total = [Fraction(0)] * channels
            for sy in range(rows):
                for sx in range(columns):
                    tall = min(Fraction((y + 1) * rows, height), sy + 1) - max(Fraction(y * rows, height), sy)
                    wide = min(Fraction((x + 1) * columns, width), sx + 1) - max(Fraction(x * columns, width), sx)
                    if tall > 0 and wide > 0:
                        for c in range(channels):
                            total[c] += tall * wide * int(image[sy, sx, c])
            area = Fraction(rows * columns, height * width)
            out[y, x] = [int((t / area + Fraction(1, 2)).__floor__()) for t in total]
    return out


@pytest.mark.parametrize("shape", [(7, 5, 3, 4), (6, 6, 3, 3), (5, 4, 5, 4), (9, 3, 2, 1), (4, 5, 7, 9), (1, 8, 1, 3)])
def test_resampling_agrees_with_loops(shape: tuple[int, int, int, int]) -> None:
    rows, columns, height, width = shape
    draw = Draw(rows * 100 + columns)
    image = np.array([draw.integer(0, 65025) for _ in range(rows * columns * 2)]).reshape(rows, columns, 2)
    assert np.array_equal(resized(image, height, width), averaged(image, height, width))


def test_resampling_keeps_constants_and_identity() -> None:
    flat = np.full((90, 61, 1), 65025)
    assert np.array_equal(resized(flat, 17, 12), np.full((17, 12, 1), 65025))
    image = np.arange(30).reshape(5, 6, 1)
    assert np.array_equal(resized(image, 5, 6), image)


def test_the_random_stream_is_splitmix64() -> None:
    # First outputs for seed 1234567 as published with the reference implementation (Vigna, splitmix64.c).
    draw = Draw(1234567)
    assert [draw.bits() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("seed", range(6))
def test_depth_agrees_with_scipy(seed: int) -> None:
    draw = Draw(seed)
    mask = np.array([draw.chance(75) for _ in range(23 * 17)]).reshape(23, 17)
    mask[:4] = False
    squared = np.rint(distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] ** 2).astype(np.int64)
    assert np.array_equal(marks.depth(mask), squared)


def test_depth_of_nothing_and_of_everything() -> None:
    assert marks.depth(np.zeros((4, 5), dtype=bool)).sum() == 0
    assert marks.depth(np.ones((5, 5), dtype=bool)).max() == 9


def test_the_point_is_the_middle_of_a_disc_and_a_scribble_follows_the_long_side() -> None:
    y, x = np.mgrid[:21, :21]
    assert marks.deepest((x - 8) ** 2 + (y - 12) ** 2 < 30) == (8.5 / 21, 12.5 / 21)
    bar = np.zeros((20, 40), dtype=bool)
    bar[8:11, 5:35] = True
    stroke = marks.scribble(bar)
    assert [round(px * 40 - 0.5) for px, _ in stroke] == [8, 14, 20, 26, 32]
    assert {py for _, py in stroke} == {9.5 / 20}
    assert marks.scribble(bar.T) == tuple((py, px) for px, py in stroke)


@pytest.fixture(scope="module")
def scenes() -> list[world.Scene]:
    listing = json.loads((world.HERE / "mini-refs.json").read_text("utf-8"))
    return [suites.scene_of(row) for row in listing["samples"][:20]]


def test_twice_the_side_is_the_same_scene(scenes) -> None:
    differences = []
    for scene in scenes:
        small, large = world.render(scene, 64), world.render(scene, 128)
        assert large.pixels.shape == (128, 128, 3)
        for thing, a, b in zip(scene.things, small.masks, large.masks, strict=True):
            assert np.abs(np.subtract(np.multiply(world.extent(thing, 64), 2), world.extent(thing, 128))).max() <= 2
            # Thin ink such as a leg can be too faint at 64 pixels and show at 128.
            assert np.abs(np.subtract(build.box_of(a), build.box_of(b))).max() <= 4 / 64
            assert 0.8 < b.sum() / (4 * a.sum()) < 1.25
        assert np.abs(np.subtract(small.visible, large.visible)).max() < 0.1
        mean = large.pixels.reshape(64, 2, 64, 2, 3).mean((1, 3))
        differences.append(np.abs(mean - small.pixels).mean())
    # Of 255: soft edges, ripples and joints fall differently, and by chance so in one scene more than in another.
    assert np.median(differences) < 4
    assert max(differences) < 12


def test_rendering_depends_on_nothing_drawn_before(scenes) -> None:
    before = [world.render(s).pixels.tobytes() for s in scenes]
    assert [world.render(s).pixels.tobytes() for s in reversed(scenes)] == before[::-1]


def test_training_draws_are_exact_too() -> None:
    for seed in range(5_000_000, 5_000_008):
        drawn = build.draw(seed)
        for thing in drawn["things"]:
            assert thing["phrase"] in drawn["captions"][0]
            height, width, _ = thing["mask"]
            assert (height, width) == drawn["pixels"].shape[:2]


def test_a_wish_is_fulfilled() -> None:
    wish = compose.Wish(3, "medium", "some", True)
    scene = compose.compose(wish, Draw(99))
    kinds = [t.category for t in scene.things]
    assert len(kinds) == 3
    assert len(set(kinds)) < 3
    assert all(20 <= t.size <= 27 for t in scene.things)
    assert min(world.render(scene).visible) >= compose.MIN_VISIBLE
