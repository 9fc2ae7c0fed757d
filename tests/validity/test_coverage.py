"""A small simulation of coverage; the table in the documents supports the claims."""

from __future__ import annotations

import re

import coverage
import numpy as np
import pools
import pytest

from layoutmark.metrics.ap_table import resampled_ap
from layoutmark.statistics import bootstrap_weights, mean_interval


def rows() -> list[list[str]]:
    text = coverage.DOCUMENT.read_text("utf-8").split(coverage.START)[1].split(coverage.END)[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if re.match(r"\| (synthetic|miniature) \|", line)
    ]


def test_intervals_cover_in_a_small_simulation() -> None:
    lines = {x.interval: x for x in coverage.synthetic(100, 2.0, 50, 20, endless=4000)}
    assert set(lines) == {
        "clustered t", coverage.CHOSEN, "bootstrap, shifted", "bootstrap, basic", "bootstrap, BCa",
        "delete-one jackknife, t",
    }  # fmt: skip
    assert {x.interval for x in lines.values() if x.repetitions == 50} == {"clustered t", coverage.CHOSEN}
    for line in lines.values():
        assert 0.7 <= line.suite <= 1.0
        assert 0.02 < line.width < 0.3
    assert lines[coverage.CHOSEN].suite >= 0.84
    assert lines["delete-one jackknife, t"].width > lines[coverage.CHOSEN].width > lines["bootstrap, shifted"].width


def test_coverage_counts_intervals_that_contain_the_value() -> None:
    assert coverage._coverage([(0.0, 0.1)] * 3 + [(0.4, 0.6)], 0.5) == 0.25
    assert coverage._width([(0.0, 0.1), (0.4, 0.6)]) == pytest.approx(0.15)


def test_the_simulated_table_is_a_table_of_the_metric() -> None:
    rng = np.random.default_rng(0)
    images = coverage.simulate(rng, rng.normal(size=50), 8.0)
    assert coverage.average_precision(images.table) > 0.9, "a detector that finds everything"
    assert images.recalls.mean() > 0.97
    blind = coverage.simulate(rng, rng.normal(size=50), -8.0)
    assert coverage.average_precision(blind.table) < 0.1


def test_images_drawn_from_a_pool_are_those_of_the_pool() -> None:
    rng = np.random.default_rng(1)
    images = coverage.simulate(rng, rng.normal(size=30), 1.0)
    pool = pools.Pool(images.table, images.recalls)
    picks = rng.integers(0, 30, 40)
    resampled = pools.resample(pool, picks)
    weights = np.bincount(picks, minlength=30)[None]
    assert resampled_ap(resampled.table, np.ones((1, 40), np.int64)) == pytest.approx(
        resampled_ap(pool.table, weights), abs=1e-12
    )
    assert resampled.overlap == pytest.approx(images.recalls[picks])
    # Copies of an image count as separate images: one of two may have weight 0.
    twice = pools.resample(pool, np.array([4, 4, 9]))
    left = resampled_ap(twice.table, np.array([[1, 0, 1], [0, 1, 1]]))
    assert left[0] == pytest.approx(left[1])


def test_bca_of_a_mean_is_nearly_the_t_interval() -> None:
    values = np.random.default_rng(3).normal(size=60)
    weights = bootstrap_weights([str(i) for i in range(60)], 4000, 1)
    left_out = np.array([np.delete(values, i).mean() for i in range(60)])
    low, high = coverage._bca(weights @ values / 60, float(values.mean()), left_out)
    plain = mean_interval(values, [str(i) for i in range(60)])
    assert plain is not None
    assert (low, high) == pytest.approx((plain.low, plain.high), abs=0.03)


def test_the_documents_show_every_size_and_nominal_coverage() -> None:
    """The intervals in use cover 93 to 97 % in every cell."""
    listed = rows()
    used = [r for r in listed if r[4] in ("clustered t", coverage.CHOSEN)]
    worlds = {"synthetic", "miniature"}
    assert {(r[0], r[1], int(r[3])) for r in used} == {
        (w, f, n) for w in worlds for f in ("mean", "AP50") for n in coverage.SIZES
    }
    assert len(used) == len(worlds) * 2 * 2 * len(coverage.SIZES)
    assert {r[5]: r for r in used if not 0.93 <= float(r[5]) <= 0.97} == {}
