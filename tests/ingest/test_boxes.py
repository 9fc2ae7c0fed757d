"""Boxes of every convention: what goes out comes back, and what cannot be a box never becomes one."""

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
    corners,
    covers_all,
    numbers_of,
    placed,
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
def test_out_and_back(box: Box, convention: Convention, unit: Units, canvas: Canvas) -> None:
    numbers = numbers_of(box, convention, unit, canvas)
    repairs: list[str] = []
    assert placed(corners(numbers, convention, unit, canvas), repairs).xyxy == pytest.approx(box.xyxy, abs=1e-9)
    assert CLIPPED not in repairs


@given(boxes(), conventions, conventions, canvases)
def test_by_way_of_another_convention(box: Box, first: Convention, second: Convention, canvas: Canvas) -> None:
    once = placed(corners(numbers_of(box, first, Units.PIXELS, canvas), first, Units.PIXELS, canvas), [])
    twice = placed(corners(numbers_of(once, second, Units.FRACTIONS, canvas), second, Units.FRACTIONS, canvas), [])
    assert twice.xyxy == pytest.approx(box.xyxy, abs=1e-9)


@given(boxes())
def test_a_flip_twice_is_none_and_keeps_the_size(box: Box) -> None:
    flipped = box.flipped()
    assert flipped.flipped().xyxy == pytest.approx(box.xyxy, abs=1e-12)
    assert flipped.area == pytest.approx(box.area, abs=1e-12)
    assert (flipped.y0, flipped.y1) == (box.y0, box.y1)
    assert flipped.x0 + box.x1 == pytest.approx(1)


@given(boxes(), st.floats(-3, 3), st.floats(-3, 3))
def test_a_moved_box_is_cut_at_the_edge_or_left_out(box: Box, right: float, down: float) -> None:
    x0, y0, x1, y1 = box.x0 + right, box.y0 + down, box.x1 + right, box.y1 + down
    assume(x0 < x1 and y0 < y1)
    repairs: list[str] = []
    if x1 <= 0 or y1 <= 0 or x0 >= 1 or y0 >= 1:
        with pytest.raises(Skip, match="outside the canvas"):
            placed((x0, y0, x1, y1), repairs)
        return
    found = placed((x0, y0, x1, y1), repairs)
    assert found.xyxy == (max(x0, 0), max(y0, 0), min(x1, 1), min(y1, 1))
    inside = min(x0, y0) >= 0 and max(x1, y1) <= 1
    assert bool(repairs) is not inside
    assert set(repairs) <= {CLIPPED, ROUNDED}


@given(st.tuples(anything, anything, anything, anything))
def test_any_four_numbers_become_a_box_or_a_reason(found) -> None:
    try:
        box = placed(found, [])
    except Skip:
        return
    x0, y0, x1, y1 = found
    assert all(map(math.isfinite, found))
    assert x0 < x1
    assert y0 < y1
    assert 0 <= box.x0 < box.x1 <= 1
    assert 0 <= box.y0 < box.y1 <= 1


@given(boxes(), st.integers(0, 3), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_one_number_that_is_not_finite_is_enough(box: Box, place: int, value: float) -> None:
    found = list(box.xyxy)
    found[place] = value
    with pytest.raises(Skip, match="not four finite numbers"):
        placed((found[0], found[1], found[2], found[3]), [])


@given(boxes())
def test_inverted_and_without_area(box: Box) -> None:
    x0, y0, x1, y1 = box.xyxy
    for turned in ((x1, y0, x0, y1), (x0, y1, x1, y0), (x1, y1, x0, y0)):
        with pytest.raises(Skip, match="inverted"):
            placed(turned, [])
    for flat in ((x0, y0, x0, y1), (x0, y0, x1, y0), (x0, y0, x0, y0)):
        with pytest.raises(Skip, match="no area"):
            placed(flat, [])


@given(st.lists(boxes(), min_size=1, max_size=9), conventions, st.integers(64, 4000))
def test_pixels_said_to_be_fractions_and_the_other_way_round(
    found: list[Box], convention: Convention, side: int
) -> None:
    canvas = Canvas(side, side)
    large = [box for box in found if min(box.x1, box.y1) > 0.1]
    assume(large)
    pixels = [numbers_of(box, convention, Units.PIXELS, canvas) for box in large]
    fractions = [numbers_of(box, convention, Units.FRACTIONS, canvas) for box in large]
    check_units(fractions, Units.FRACTIONS, "file x")
    with pytest.raises(LayoutmarkError, match="Say that they are fractions"):
        check_units(fractions, Units.PIXELS, "file x")
    # A centre and a size can stay small where the corner is large: only these are looked at.
    assume(np.mean([max(p) > 2 for p in pixels]) > 0.5)
    check_units(pixels, Units.PIXELS, "file x")
    with pytest.raises(LayoutmarkError, match="Say that they are pixels"):
        check_units(pixels, Units.FRACTIONS, "file x")


def test_what_is_no_number_says_nothing_of_the_units() -> None:
    check_units([[math.nan] * 4, [0.1, 0.2, 0.3, 0.4]], Units.FRACTIONS, "file x")
    check_units([[math.nan] * 4, [10, 20, 30, 40]], Units.PIXELS, "file x")
    check_units([], Units.PIXELS, "file x")


@given(boxes())
def test_only_the_whole_canvas_covers_all(box: Box) -> None:
    assert covers_all(box) is (box.area == 1.0)
