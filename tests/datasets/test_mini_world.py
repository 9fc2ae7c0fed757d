"""The renderer compared with simple implementations: resampling by loops, distances by scipy, another canvas size."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from layoutmark.datasets.mini import build, compose, marks, suites, world
from layoutmark.datasets.mini.deterministic import RandomStream, resize_by_area


def average_by_loops(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area averaging by loops over pixels, with exact fractions rounded half up."""
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
    stream = RandomStream(rows * 100 + columns)
    image = np.array([stream.integer(0, 65025) for _ in range(rows * columns * 2)]).reshape(rows, columns, 2)
    assert np.array_equal(resize_by_area(image, height, width), average_by_loops(image, height, width))


def test_resampling_keeps_constants_and_identity() -> None:
    flat = np.full((90, 61, 1), 65025)
    assert np.array_equal(resize_by_area(flat, 17, 12), np.full((17, 12, 1), 65025))
    image = np.arange(30).reshape(5, 6, 1)
    assert np.array_equal(resize_by_area(image, 5, 6), image)


def test_the_random_stream_is_splitmix64() -> None:
    # First outputs for seed 1234567 as published with the reference implementation (Vigna, splitmix64.c).
    stream = RandomStream(1234567)
    assert [stream.next_bits() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("seed", range(6))
def test_squared_depth_agrees_with_scipy(seed: int) -> None:
    stream = RandomStream(seed)
    mask = np.array([stream.chance(75) for _ in range(23 * 17)]).reshape(23, 17)
    mask[:4] = False
    squared = np.rint(distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] ** 2).astype(np.int64)
    assert np.array_equal(marks.squared_depth(mask), squared)


def test_squared_depth_of_empty_and_full_masks() -> None:
    assert marks.squared_depth(np.zeros((4, 5), dtype=bool)).sum() == 0
    assert marks.squared_depth(np.ones((5, 5), dtype=bool)).max() == 9


def test_point_is_the_centre_of_a_disc_and_scribble_follows_the_longer_side() -> None:
    y, x = np.mgrid[:21, :21]
    assert marks.deepest_point((x - 8) ** 2 + (y - 12) ** 2 < 30) == (8.5 / 21, 12.5 / 21)
    bar = np.zeros((20, 40), dtype=bool)
    bar[8:11, 5:35] = True
    stroke = marks.make_scribble(bar)
    assert [round(px * 40 - 0.5) for px, _ in stroke] == [8, 14, 20, 26, 32]
    assert {py for _, py in stroke} == {9.5 / 20}
    assert marks.make_scribble(bar.T) == tuple((py, px) for px, py in stroke)


@pytest.fixture(scope="module")
def scenes() -> list[world.Scene]:
    listing = json.loads((world.FOLDER / "mini-refs.json").read_text("utf-8"))
    return [suites.make_scene(row) for row in listing["samples"][:20]]


def test_doubled_side_gives_the_same_scene(scenes) -> None:
    differences = []
    for scene in scenes:
        small, large = world.render(scene, 64), world.render(scene, 128)
        assert large.pixels.shape == (128, 128, 3)
        for thing, a, b in zip(scene.things, small.masks, large.masks, strict=True):
            assert (
                np.abs(
                    np.subtract(np.multiply(world.sprite_bounds(thing, 64), 2), world.sprite_bounds(thing, 128))
                ).max()
                <= 2
            )
            # Thin ink such as a leg can be too faint at 64 pixels and visible at 128.
            assert np.abs(np.subtract(build.tight_box(a), build.tight_box(b))).max() <= 4 / 64
            assert 0.8 < b.sum() / (4 * a.sum()) < 1.25
        assert np.abs(np.subtract(small.visible_shares, large.visible_shares)).max() < 0.1
        mean = large.pixels.reshape(64, 2, 64, 2, 3).mean((1, 3))
        differences.append(np.abs(mean - small.pixels).mean())
    # Of 255.  Soft edges and background patterns fall on other pixels, in some scenes more than in others.
    assert np.median(differences) < 4
    assert max(differences) < 12


def test_rendering_does_not_depend_on_earlier_renderings(scenes) -> None:
    renderings = [world.render(s).pixels.tobytes() for s in scenes]
    assert [world.render(s).pixels.tobytes() for s in reversed(scenes)] == renderings[::-1]


def test_training_images_match_their_annotations() -> None:
    for seed in range(5_000_000, 5_000_008):
        image = build.draw(seed)
        for thing in image["things"]:
            assert thing["phrase"] in image["captions"][0]
            height, width, _ = thing["mask"]
            assert (height, width) == image["pixels"].shape[:2]


def test_composed_scene_meets_its_specification() -> None:
    spec = compose.SceneSpec(3, "medium", "some", True)
    scene = compose.compose_scene(spec, RandomStream(99))
    categories = [t.category for t in scene.things]
    assert len(categories) == 3
    assert len(set(categories)) < 3
    assert all(20 <= t.size <= 27 for t in scene.things)
    assert min(world.render(scene).visible_shares) >= compose.MIN_VISIBLE_SHARE
