"""Layouts that are not square: every policy, from the card to the picture that is scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from layoutmark.api import BuiltSuite
from layoutmark.errors import LayoutmarkError
from layoutmark.generate.external import read_folder
from layoutmark.ingest.masks import extent, marks, regridded
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Sample
from layoutmark.plan.jobs import jobs
from layoutmark.plan.plan import make_plan
from layoutmark.registry import Registry
from layoutmark.registry.card_types import Aspect, Source, SuiteItem
from layoutmark.suites import SquaredSuite, load_built_suite, save_built_suite, squared
from layoutmark.suites.aspect import GREY, squared_picture
from layoutmark.suites.opening import open_suite

WIDE = Canvas(640, 480)


def sample(number: int, canvas: Canvas = WIDE) -> Sample:
    """A car in the pixels 64..320 x 48..240, its mask the same rectangle."""
    pixels = np.zeros((canvas.height, canvas.width), dtype=bool)
    pixels[48:240, 64:320] = True
    mask = Mask.from_array(pixels)
    box = Box.from_pixels_xyxy(64, 48, 320, 240, canvas)
    layout = Layout(canvas, (Instance("0", "car", "car", box, mask, *marks(mask)),))
    return Sample(f"toy-{number}", "a car", layout, {"count": "1"})


def suite(*samples: Sample, aspect: Aspect = Aspect.PAD, folder) -> SquaredSuite:
    item = SuiteItem("toy", "Toy", "1", Source.BUILD, aspect=aspect)
    built = save_built_suite(BuiltSuite(samples, ("car",)), item, folder / "toy")
    loaded = load_built_suite(built)
    assert loaded.aspect is aspect
    return squared(loaded, loaded.aspect)


def test_padding_keeps_pixels_where_they_are(tmp_path) -> None:
    made = suite(sample(0), folder=tmp_path)
    (layout,) = (s.layout for s in made.samples)
    (car,) = layout.instances
    assert layout.canvas == Canvas(640, 640)
    # 80 rows of bar above: the car stands in the same pixels, 80 lower.
    assert car.box.pixels(layout.canvas) == pytest.approx((64, 128, 320, 320))
    mask = car.mask.array()
    assert mask.shape == (640, 640)
    assert mask[128:320, 64:320].all()
    assert mask.sum() == 192 * 256
    for x, y in (car.point, *car.scribble):
        assert mask[int(y * 640), int(x * 640)]
    assert made.notes == ("1 of 1 layouts are not square: placed in the middle of a square (aspect: pad)",)


def test_stretching_keeps_fractions(tmp_path) -> None:
    made = suite(sample(0), aspect=Aspect.STRETCHED, folder=tmp_path)
    (car,) = made.samples[0].layout.instances
    assert made.samples[0].layout.canvas == Canvas(640, 640)
    assert car.box == sample(0).layout.instances[0].box
    assert extent(car.mask) == pytest.approx(car.box.xyxy)


def test_native_refuses_what_a_square_generator_cannot_draw(tmp_path) -> None:
    with pytest.raises(LayoutmarkError, match=r"1 layouts that are not square, as 'toy-0'.*draws squares.*aspect = 'p"):
        suite(sample(0), aspect=Aspect.NATIVE, folder=tmp_path)
    square = suite(sample(0, Canvas(512, 512)), aspect=Aspect.NATIVE, folder=tmp_path)
    assert not isinstance(square, SquaredSuite)


def test_every_policy_has_a_digest_of_its_own(tmp_path) -> None:
    plain = load_built_suite(
        save_built_suite(BuiltSuite((sample(0),), ("car",)), SuiteItem("toy", "", "1", Source.BUILD), tmp_path)
    )
    pad, stretched = squared(plain, Aspect.PAD), squared(plain, Aspect.STRETCHED)
    assert len({plain.digest, pad.digest, stretched.digest}) == 3


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_padding_and_cutting_the_bars_off_is_no_change(width: int, height: int, data) -> None:
    canvas, side = Canvas(width, height), max(width, height)
    x0, x1 = sorted(data.draw(st.lists(st.integers(0, width), min_size=2, max_size=2, unique=True)))
    y0, y1 = sorted(data.draw(st.lists(st.integers(0, height), min_size=2, max_size=2, unique=True)))
    box = Box.from_pixels_xyxy(x0, y0, x1, y1, canvas)
    picture = np.full((height, width, 3), 9, np.uint8)
    picture[y0:y1, x0:x1] = 200
    thing = Instance("0", "a", "a", box, Mask.from_array(picture[..., 0] == 200))
    one = Sample("s", "a", Layout(canvas, (thing,)))
    plain = type("Plain", (), {"name": "p", "version": "1", "categories": (), "digest": "d", "notes": ()})()
    plain.samples = (one,)
    plain.true_image = lambda _: picture
    found = squared(plain, Aspect.PAD)
    (placed,) = found.samples[0].layout.instances
    shown = found.true_image("s")
    assert shown.shape == (side, side, 3)
    a, b, c, d = (round(v) for v in placed.box.pixels(Canvas(side, side)))
    assert (shown[b:d, a:c] == 200).all()
    assert (shown == 200).all(-1).sum() == (x1 - x0) * (y1 - y0)
    assert np.array_equal(placed.mask.array(), (shown == 200).all(-1))


def test_bars_are_grey() -> None:
    shown = squared_picture(np.zeros((2, 4, 3), np.uint8), Aspect.PAD)
    assert shown[:, 0, 0].tolist() == [GREY, 0, 0, GREY]


def test_masks_of_another_grid_come_onto_the_canvas() -> None:
    mask = Mask.from_array(np.array([[True, False], [False, False]]))
    assert regridded(mask, Canvas(4, 6)).array().tolist() == [[True, True, False, False]] * 3 + [[False] * 4] * 3


def test_runs_see_square_layouts(tmp_path, monkeypatch) -> None:
    """What a plan's jobs ask for is the padded layout, and its key is another than that of the layout as built."""
    monkeypatch.setenv("LAYOUTMARK_HOME", str(tmp_path))
    registry = Registry()
    item = registry.get_suite("coco-200").suite
    save_built_suite(BuiltSuite((sample(0), sample(1)), ("car",)), item, tmp_path / "suites" / "coco-200")
    plan = make_plan(registry, suite="coco-200", stack="mini", methods=["base"])
    opened = open_suite(registry, "coco-200", registry.get_stack("mini"), None)
    assert plan.suite_digest == opened.digest
    assert any("placed in the middle of a square" in note for note in plan.notes)
    asked = jobs(plan, opened, plan.rows[0])
    assert {job.sample.layout.canvas for job in asked} == {Canvas(640, 640)}
    assert asked[0].sample.layout.instances[0].box.xyxy == pytest.approx((0.1, 0.2, 0.5, 0.5))


def test_pictures_made_elsewhere_are_put_where_their_layout_is(tmp_path) -> None:
    made = suite(*(sample(n) for n in range(4)), folder=tmp_path)
    shown = np.zeros((480, 640, 3), np.uint8)
    shown[48:240, 64:320] = 255
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(shown).save(folder / "toy-0.png")
    Image.fromarray(shown).resize((320, 240)).save(folder / "toy-1.png")
    Image.fromarray(shown).resize((64, 64)).save(folder / "toy-2.png")
    Image.fromarray(shown).resize((640, 200)).save(folder / "toy-3.png")
    found = read_folder(folder, made, made)
    for name, side in (("toy-0", 640), ("toy-1", 320)):
        x0, y0, x1, y1 = (round(v) for v in made.samples[0].layout.instances[0].box.pixels(Canvas(side, side)))
        assert found[name].shape == (side, side, 3)
        assert (found[name][y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] > 200).all()
    assert found["toy-2"].shape == (64, 64, 3)
    assert found["toy-3"] == "picture of 640 x 200 pixels is neither square nor of its layout's shape 640 x 480"


def test_square_suites_are_left_alone() -> None:
    mini = Registry().get_suite("mini").load().open_suite("mini")
    assert squared(mini, Aspect.NATIVE) is mini
    assert squared(mini, Aspect.PAD) is mini


def test_references_and_other_parts_stay(tmp_path) -> None:
    one = sample(0)
    made = suite(replace(one, layout=replace(one.layout)), folder=tmp_path)
    assert made.references("toy-0") == {}
    assert made.samples[0].strata == one.strata
    assert made.true_image("toy-0") is None
