"""Spearman's correlation: closed form, ties, and inputs without ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics import spearman


@given(st.permutations(list(range(8))))
def test_without_ties_it_is_the_textbook_formula(order: list[int]) -> None:
    squares = sum((i - rank) ** 2 for i, rank in enumerate(order))
    assert spearman(range(8), order) == pytest.approx(1 - 6 * squares / (8 * 63))


def test_monotone_curves_are_perfect_and_ties_share_ranks() -> None:
    x = np.linspace(0, 3, 9)
    assert spearman(x, np.exp(x)) == pytest.approx(1)
    assert spearman(x, -(x**3)) == pytest.approx(-1)
    # Ranks 1 2.5 2.5 4 against 1 2 3 4: covariance 4.5, variances 4.5 and 5.
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / np.sqrt(4.5 * 5))


def test_a_constant_is_refused() -> None:
    with pytest.raises(LayoutmarkError) as caught:
        spearman([1, 2, 3], [0.5, 0.5, 0.5])
    assert str(caught.value) == (
        "second variable: found the constant 0.5; expected at least two different values. "
        "Report the correlation as undefined."
    )


def test_short_and_unequal_inputs_are_refused() -> None:
    with pytest.raises(LayoutmarkError, match="rank correlation: found 1 points; expected at least 2"):
        spearman([1], [2])
    with pytest.raises(LayoutmarkError, match="second variable: found 3 entries; expected 2 entries"):
        spearman([1, 2], [1, 2, 3])
