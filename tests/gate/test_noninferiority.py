"""The tests of a gate against SciPy's, where there is no spread, and what the named number of seeds really does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from layoutmark.gate.noninferiority import Gain, needed, p_above, p_below
from layoutmark.statistics.clusters import clustered_mean


def test_one_value_a_prompt_is_the_t_test(rng) -> None:
    values = rng.normal(0.01, 0.1, 40)
    mean = clustered_mean(values, [str(k) for k in range(40)])
    assert mean is not None
    gain = Gain(mean.mean, mean.standard_error, mean.clusters)
    for bound in (-0.03, 0.0, 0.05):
        assert p_above(gain, bound) == pytest.approx(ttest_1samp(values, bound, alternative="greater").pvalue)
        assert p_below(gain, bound) == pytest.approx(ttest_1samp(values, bound, alternative="less").pvalue)
    # The bound at alpha is where the test turns.
    assert p_above(gain, gain.value - gain.reach(0.05)) == pytest.approx(0.05)


def test_without_spread_prompts_count_as_coins() -> None:
    same = Gain(0.0, 0.0, 6)
    assert p_below(same, 0.0) == 1.0, "no change is not worse"
    assert p_above(same, -0.01) == 2.0**-6
    assert p_below(Gain(-0.02, 0.0, 3), 0.0) == 0.125, "three prompts that agree prove nothing"


@pytest.mark.parametrize("deviation", [0.3, 0.1])
def test_with_the_named_seeds_every_gain_is_decided(deviation) -> None:
    prompts, seeds, margin, alpha, between = 60, 2, 0.05, 0.05 / 6, 0.03
    images = prompts * seeds

    def gain(k: int, value: float = 0.0) -> Gain:
        return Gain(value, float(np.sqrt((between**2 + deviation**2 / k) / prompts)), prompts)

    more = needed(gain(seeds), deviation, images, seeds, margin, alpha)
    assert more.seeds is not None
    assert not more.at_least
    for value in np.linspace(-0.1, 0.05, 31):
        decided = gain(more.seeds, float(value))
        assert min(p_below(decided, 0.0), p_above(decided, -margin)) <= alpha
    if more.seeds > seeds + 1:
        fewer = gain(more.seeds - 1, -margin / 2)
        assert min(p_below(fewer, 0.0), p_above(fewer, -margin)) > alpha, "and no fewer do"


def test_where_prompts_differ_too_much_prompts_are_named() -> None:
    gain = Gain(-0.02, 0.03, 20)
    more = needed(gain, 0.01, 40, 2, 0.05, 0.05)
    assert more.seeds is None
    assert more.prompts > 40
    scaled = Gain(-0.025, 0.03 * float(np.sqrt(20 / more.prompts)), more.prompts)
    assert min(p_below(scaled, 0.0), p_above(scaled, -0.05)) <= 0.05


def test_one_seed_names_a_least_number() -> None:
    more = needed(Gain(-0.02, 0.03, 20), None, 20, 1, 0.05, 0.05)
    assert more.at_least
    assert more.seeds is not None
    assert more.seeds > 1
    assert needed(Gain(0.0, 0.0, 3), None, 3, 1, 0.05, 0.05).seeds is None, "equal images stay equal"
