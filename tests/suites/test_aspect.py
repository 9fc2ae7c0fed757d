"""Layouts that are not square: every policy, from the card to the scored image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from layoutmark.api import BuiltSuite
from layoutmark.errors import LayoutmarkError
from layoutmark.generate.external import read_images
from layoutmark.ingest.masks import make_point_and_scribble, mask_bounds, resample_mask
from layoutmark.layout import Box, Canvas, Instance, Layout, Mask, Sample
from layoutmark.plan.jobs import list_jobs
from layoutmark.plan.plan import make_plan
from layoutmark.registry import Registry
from layoutmark.registry.card_types import Aspect, Source, SuiteItem
from layoutmark.suites import SquaredSuite, load_built_suite, make_square, save_built_suite
from layoutmark.suites.aspect import BAR_GREY_LEVEL, make_image_square
from layoutmark.suites.opening import open_suite

WIDE = Canvas(640, 480)


def make_sample(number: int, canvas: Canvas = WIDE) -> Sample:
    """A car in the pixels 64..320 x 48..240, with a mask of the same rectangle."""
    pixels = np.zeros((canvas.height, canvas.width), dtype=bool)
    pixels[48:240, 64:320] = True
    mask = Mask.from_array(pixels)
    box = Box.from_pixels_xyxy(64, 48, 320, 240, canvas)
    layout = Layout(canvas, (Instance("0", "car", "car", box, mask, *make_point_and_scribble(mask)),))
    return Sample(f"toy-{number}", "a car", layout, {"count": "1"})


def make_suite(*samples: Sample, aspect: Aspect = Aspect.PAD, folder) -> SquaredSuite:
    item = SuiteItem("toy", "Toy", "1", Source.BUILD, aspect=aspect)
    folder_built = save_built_suite(BuiltSuite(samples, ("car",)), item, folder / "toy")
    loaded = load_built_suite(folder_built)
    assert loaded.aspect is aspect
    return make_square(loaded, loaded.aspect)


def test_padding_keeps_pixels_where_they_are(tmp_path) -> None:
    suite = make_suite(make_sample(0), folder=tmp_path)
    (layout,) = (s.layout for s in suite.samples)
    (car,) = layout.instances
    assert layout.canvas == Canvas(640, 640)
    # The bar above has 80 rows: the car is 80 pixels further down.
    assert car.box.to_pixels(layout.canvas) == pytest.approx((64, 128, 320, 320))
    mask = car.mask.to_array()
    assert mask.shape == (640, 640)
    assert mask[128:320, 64:320].all()
    assert mask.sum() == 192 * 256
    for x, y in (car.point, *car.scribble):
        assert mask[int(y * 640), int(x * 640)]
    assert suite.notes == ("1 of 1 layouts are not square: placed in the middle of a square (aspect: pad)",)


def test_stretching_keeps_fractions(tmp_path) -> None:
    suite = make_suite(make_sample(0), aspect=Aspect.STRETCHED, folder=tmp_path)
    (car,) = suite.samples[0].layout.instances
    assert suite.samples[0].layout.canvas == Canvas(640, 640)
    assert car.box == make_sample(0).layout.instances[0].box
    assert mask_bounds(car.mask) == pytest.approx(car.box.xyxy)


def test_native_aspect_refuses_oblong_layouts(tmp_path) -> None:
    with pytest.raises(
        LayoutmarkError, match=r"1 layouts that are not square, such as 'toy-0'.*square images.*aspect to 'p"
    ):
        make_suite(make_sample(0), aspect=Aspect.NATIVE, folder=tmp_path)
    square = make_suite(make_sample(0, Canvas(512, 512)), aspect=Aspect.NATIVE, folder=tmp_path)
    assert not isinstance(square, SquaredSuite)


def test_digests_differ_between_policies(tmp_path) -> None:
    plain = load_built_suite(
        save_built_suite(BuiltSuite((make_sample(0),), ("car",)), SuiteItem("toy", "", "1", Source.BUILD), tmp_path)
    )
    padded, stretched = make_square(plain, Aspect.PAD), make_square(plain, Aspect.STRETCHED)
    assert len({plain.digest, padded.digest, stretched.digest}) == 3


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_padding_moves_pixels_boxes_and_masks_alike(width: int, height: int, data) -> None:
    canvas, side = Canvas(width, height), max(width, height)
    x0, x1 = sorted(data.draw(st.lists(st.integers(0, width), min_size=2, max_size=2, unique=True)))
    y0, y1 = sorted(data.draw(st.lists(st.integers(0, height), min_size=2, max_size=2, unique=True)))
    box = Box.from_pixels_xyxy(x0, y0, x1, y1, canvas)
    image = np.full((height, width, 3), 9, np.uint8)
    image[y0:y1, x0:x1] = 200
    instance = Instance("0", "a", "a", box, Mask.from_array(image[..., 0] == 200))
    sample = Sample("s", "a", Layout(canvas, (instance,)))
    plain = type("Plain", (), {"name": "p", "version": "1", "categories": (), "digest": "d", "notes": ()})()
    plain.samples = (sample,)
    plain.true_image = lambda _: image
    padded = make_square(plain, Aspect.PAD)
    (padded_instance,) = padded.samples[0].layout.instances
    padded_image = padded.true_image("s")
    assert padded_image.shape == (side, side, 3)
    a, b, c, d = (round(v) for v in padded_instance.box.to_pixels(Canvas(side, side)))
    assert (padded_image[b:d, a:c] == 200).all()
    assert (padded_image == 200).all(-1).sum() == (x1 - x0) * (y1 - y0)
    assert np.array_equal(padded_instance.mask.to_array(), (padded_image == 200).all(-1))


def test_padding_is_grey() -> None:
    padded = make_image_square(np.zeros((2, 4, 3), np.uint8), Aspect.PAD)
    assert padded[:, 0, 0].tolist() == [BAR_GREY_LEVEL, 0, 0, BAR_GREY_LEVEL]


def test_masks_of_another_size_are_resampled_to_the_canvas() -> None:
    mask = Mask.from_array(np.array([[True, False], [False, False]]))
    assert resample_mask(mask, Canvas(4, 6)).to_array().tolist() == [[True, True, False, False]] * 3 + [[False] * 4] * 3


def test_runs_see_square_layouts(tmp_path, monkeypatch) -> None:
    """The jobs of a plan have the padded layout, and the plan has the digest of the padded suite."""
    monkeypatch.setenv("LAYOUTMARK_HOME", str(tmp_path))
    registry = Registry()
    item = registry.get_suite("coco-200").suite
    save_built_suite(BuiltSuite((make_sample(0), make_sample(1)), ("car",)), item, tmp_path / "suites" / "coco-200")
    plan = make_plan(registry, suite="coco-200", stack="mini", methods=["base"])
    opened = open_suite(registry, "coco-200", registry.get_stack("mini"), None)
    assert plan.suite_digest == opened.digest
    assert any("placed in the middle of a square" in note for note in plan.notes)
    jobs = list_jobs(plan, opened, plan.rows[0])
    assert {job.sample.layout.canvas for job in jobs} == {Canvas(640, 640)}
    assert jobs[0].sample.layout.instances[0].box.xyxy == pytest.approx((0.1, 0.2, 0.5, 0.5))


def test_external_images_are_made_square_like_their_layout(tmp_path) -> None:
    suite = make_suite(*(make_sample(n) for n in range(4)), folder=tmp_path)
    image = np.zeros((480, 640, 3), np.uint8)
    image[48:240, 64:320] = 255
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(image).save(folder / "toy-0.png")
    Image.fromarray(image).resize((320, 240)).save(folder / "toy-1.png")
    Image.fromarray(image).resize((64, 64)).save(folder / "toy-2.png")
    Image.fromarray(image).resize((640, 200)).save(folder / "toy-3.png")
    images = read_images(folder, suite, suite)
    for name, side in (("toy-0", 640), ("toy-1", 320)):
        x0, y0, x1, y1 = (round(v) for v in suite.samples[0].layout.instances[0].box.to_pixels(Canvas(side, side)))
        assert images[name].shape == (side, side, 3)
        assert (images[name][y0 + 1 : y1 - 1, x0 + 1 : x1 - 1] > 200).all()
    assert images["toy-2"].shape == (64, 64, 3)
    assert images["toy-3"] == "image of 640 x 200 pixels is neither square nor of its layout's shape 640 x 480"


def test_square_suites_are_returned_unchanged() -> None:
    mini = Registry().get_suite("mini").load().open_suite("mini")
    assert make_square(mini, Aspect.NATIVE) is mini
    assert make_square(mini, Aspect.PAD) is mini


def test_references_and_other_fields_are_unchanged(tmp_path) -> None:
    sample = make_sample(0)
    suite = make_suite(replace(sample, layout=replace(sample.layout)), folder=tmp_path)
    assert suite.references("toy-0") == {}
    assert suite.samples[0].strata == sample.strata
    assert suite.true_image("toy-0") is None
