"""Boxes in every convention: conversions are inverses, and invalid boxes are skipped."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from layoutmark.errors import LayoutmarkError
from layoutmark.ingest.boxes import (
    CLIPPED,
    ROUNDED,
    Convention,
    Units,
    check_units,
    clip_to_canvas,
    covers_canvas,
    to_convention,
    to_corners,
)
from layoutmark.ingest.ledger import Skip
from layoutmark.layout import Box, Canvas

conventions = st.sampled_from(Convention)
units = st.sampled_from(Units)
canvases = st.builds(Canvas, st.integers(1, 4000), st.integers(1, 4000))
shares = st.floats(0, 1).filter(lambda v: v == 0 or v > 1e-6)
anything = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def boxes(draw) -> Box:
    x0, x1 = sorted((draw(shares), draw(shares)))
    y0, y1 = sorted((draw(shares), draw(shares)))
    assume(x1 - x0 > 1e-6 and y1 - y0 > 1e-6)
    return Box(x0, y0, x1, y1)


@given(boxes(), conventions, units, canvases)
def test_conversion_round_trip(box: Box, convention: Convention, unit: Units, canvas: Canvas) -> None:
    numbers = to_convention(box, convention, unit, canvas)
    repairs: list[str] = []
    assert clip_to_canvas(to_corners(numbers, convention, unit, canvas), repairs).xyxy == pytest.approx(
        box.xyxy, abs=1e-9
    )
    assert CLIPPED not in repairs


@given(boxes(), conventions, conventions, canvases)
def test_conversion_through_another_convention(box: Box, first: Convention, second: Convention, canvas: Canvas) -> None:
    converted = clip_to_canvas(
        to_corners(to_convention(box, first, Units.PIXELS, canvas), first, Units.PIXELS, canvas), []
    )
    converted_again = clip_to_canvas(
        to_corners(to_convention(converted, second, Units.FRACTIONS, canvas), second, Units.FRACTIONS, canvas), []
    )
    assert converted_again.xyxy == pytest.approx(box.xyxy, abs=1e-9)


@given(boxes())
def test_flipping_twice_is_the_identity(box: Box) -> None:
    flipped = box.flipped()
    assert flipped.flipped().xyxy == pytest.approx(box.xyxy, abs=1e-12)
    assert flipped.area == pytest.approx(box.area, abs=1e-12)
    assert (flipped.y0, flipped.y1) == (box.y0, box.y1)
    assert flipped.x0 + box.x1 == pytest.approx(1)


@given(boxes(), st.floats(-3, 3), st.floats(-3, 3))
def test_shifted_box_is_clipped_or_skipped(box: Box, right: float, down: float) -> None:
    x0, y0, x1, y1 = box.x0 + right, box.y0 + down, box.x1 + right, box.y1 + down
    assume(x0 < x1 and y0 < y1)
    repairs: list[str] = []
    if x1 <= 0 or y1 <= 0 or x0 >= 1 or y0 >= 1:
        with pytest.raises(Skip, match="outside the canvas"):
            clip_to_canvas((x0, y0, x1, y1), repairs)
        return
    clipped = clip_to_canvas((x0, y0, x1, y1), repairs)
    assert clipped.xyxy == (max(x0, 0), max(y0, 0), min(x1, 1), min(y1, 1))
    is_inside = min(x0, y0) >= 0 and max(x1, y1) <= 1
    assert bool(repairs) is not is_inside
    assert set(repairs) <= {CLIPPED, ROUNDED}


@given(st.tuples(anything, anything, anything, anything))
def test_any_four_numbers_give_a_valid_box_or_are_skipped(corners) -> None:
    try:
        box = clip_to_canvas(corners, [])
    except Skip:
        return
    x0, y0, x1, y1 = corners
    assert all(map(math.isfinite, corners))
    assert x0 < x1
    assert y0 < y1
    assert 0 <= box.x0 < box.x1 <= 1
    assert 0 <= box.y0 < box.y1 <= 1


@given(boxes(), st.integers(0, 3), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_non_finite_number_is_skipped(box: Box, index: int, value: float) -> None:
    corners = list(box.xyxy)
    corners[index] = value
    with pytest.raises(Skip, match="not four finite numbers"):
        clip_to_canvas((corners[0], corners[1], corners[2], corners[3]), [])


@given(boxes())
def test_inverted_and_empty_boxes_are_skipped(box: Box) -> None:
    x0, y0, x1, y1 = box.xyxy
    for inverted in ((x1, y0, x0, y1), (x0, y1, x1, y0), (x1, y1, x0, y0)):
        with pytest.raises(Skip, match="inverted"):
            clip_to_canvas(inverted, [])
    for flat in ((x0, y0, x0, y1), (x0, y0, x1, y0), (x0, y0, x0, y0)):
        with pytest.raises(Skip, match="no area"):
            clip_to_canvas(flat, [])


@given(st.lists(boxes(), min_size=1, max_size=9), conventions, st.integers(64, 4000))
def test_mistaken_units_are_refused(boxes_drawn: list[Box], convention: Convention, side: int) -> None:
    canvas = Canvas(side, side)
    large = [box for box in boxes_drawn if min(box.x1, box.y1) > 0.1]
    assume(large)
    pixels = [to_convention(box, convention, Units.PIXELS, canvas) for box in large]
    fractions = [to_convention(box, convention, Units.FRACTIONS, canvas) for box in large]
    check_units(fractions, Units.FRACTIONS, "file x")
    with pytest.raises(LayoutmarkError, match="Declare the units as fractions"):
        check_units(fractions, Units.PIXELS, "file x")
    # Centre and size can be small although the corner is large; such boxes do not tell the units.
    assume(np.mean([max(p) > 2 for p in pixels]) > 0.5)
    check_units(pixels, Units.PIXELS, "file x")
    with pytest.raises(LayoutmarkError, match="Declare the units as pixels"):
        check_units(pixels, Units.FRACTIONS, "file x")


def test_nan_is_ignored_when_units_are_checked() -> None:
    check_units([[math.nan] * 4, [0.1, 0.2, 0.3, 0.4]], Units.FRACTIONS, "file x")
    check_units([[math.nan] * 4, [10, 20, 30, 40]], Units.PIXELS, "file x")
    check_units([], Units.PIXELS, "file x")


@given(boxes())
def test_only_the_whole_canvas_covers_it(box: Box) -> None:
    assert covers_canvas(box) is (box.area == 1.0)
