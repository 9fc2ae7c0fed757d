"""Sample sizes against published tables, and against a simulation of the test they plan for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from layoutmark.errors import LayoutmarkError
from layoutmark.statistics import needed_clusters, paired_mean_difference


# Cohen (1988) and the common power tables: paired t test, two-sided 5 %, power 80 %.
@pytest.mark.parametrize(("effect", "count"), [(0.2, 199), (0.3, 90), (0.5, 34), (0.8, 15)])
def test_needed_clusters_match_the_published_table(effect: float, count: int) -> None:
    assert needed_clusters(1.0, effect) == count
    assert needed_clusters(0.02, 0.02 * effect) == count


@given(st.floats(0.05, 5), st.sampled_from([0.8, 0.95, 0.99]), st.floats(0.01, 0.99))
def test_needed_clusters_is_the_smallest_count_with_that_power(effect: float, level: float, power: float) -> None:
    def power_with(count: int) -> float:
        critical = stats.t.ppf((1 + level) / 2, count - 1)
        return float(stats.nct.sf(critical, count - 1, effect * math.sqrt(count)))

    count = needed_clusters(1.0, effect, level, power)
    assert power_with(count) >= power - 1e-6
    assert count == 2 or power_with(count - 1) <= power + 1e-6


def test_the_normal_approximation_continues_the_exact_search() -> None:
    below, above = needed_clusters(1.0, 0.02803), needed_clusters(1.0, 0.02799)
    assert below < above < below + 40


def test_planned_power_is_met() -> None:
    count = needed_clusters(0.1, 0.06)
    rng = np.random.default_rng(2)
    detections = 0
    for _ in range(500):
        difference = paired_mean_difference(
            rng.normal(0.06, 0.1, count), np.zeros(count), [str(i) for i in range(count)]
        )
        assert difference is not None
        detections += difference.low > 0
    assert 0.75 <= detections / 500 <= 0.87


def test_zero_deviation_needs_two_clusters() -> None:
    assert needed_clusters(0.0, 0.01) == 2


@pytest.mark.parametrize(
    ("std", "margin", "power", "message"),
    [
        (
            -1.0,
            0.1,
            0.8,
            "standard deviation: found -1.0; expected a finite number, 0 or more. Estimate it from a pilot run.",
        ),
        (math.nan, 0.1, 0.8, "standard deviation: found nan"),
        (1.0, 0.0, 0.8, "margin: found 0.0; expected a finite number above 0. Give the smallest difference that"),
        (1.0, 0.1, 80, "power: found 80; expected a share between 0 and 1. Write 80 % as 0.8."),
    ],
)
def test_invalid_plans_are_refused(std: float, margin: float, power: float, message: str) -> None:
    with pytest.raises(LayoutmarkError) as caught:
        needed_clusters(std, margin, power=power)
    assert str(caught.value).startswith(message)
