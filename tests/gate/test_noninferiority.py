"""The gate's t tests against SciPy, the case without spread, and the effect of the required number of seeds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from layoutmark.gate.noninferiority import Gain, p_above, p_below, required_sample_size
from layoutmark.statistics.clusters import clustered_mean


def test_with_one_value_per_prompt_it_is_the_t_test(rng) -> None:
    values = rng.normal(0.01, 0.1, 40)
    mean = clustered_mean(values, [str(k) for k in range(40)])
    assert mean is not None
    gain = Gain(mean.mean, mean.standard_error, mean.clusters)
    for bound in (-0.03, 0.0, 0.05):
        assert p_above(gain, bound) == pytest.approx(ttest_1samp(values, bound, alternative="greater").pvalue)
        assert p_below(gain, bound) == pytest.approx(ttest_1samp(values, bound, alternative="less").pvalue)
    # At the bound for alpha the p-value equals alpha.
    assert p_above(gain, gain.value - gain.half_width(0.05)) == pytest.approx(0.05)


def test_p_values_without_variance_come_from_a_sign_test() -> None:
    same = Gain(0.0, 0.0, 6)
    assert p_below(same, 0.0) == 1.0, "an unchanged score is not worse"
    assert p_above(same, -0.01) == 2.0**-6
    assert p_below(Gain(-0.02, 0.0, 3), 0.0) == 0.125, "three prompts that agree prove nothing"


@pytest.mark.parametrize("deviation", [0.3, 0.1])
def test_the_required_seeds_decide_any_gain(deviation) -> None:
    prompts, seeds, margin, alpha, between = 60, 2, 0.05, 0.05 / 6, 0.03
    images = prompts * seeds

    def gain(k: int, value: float = 0.0) -> Gain:
        return Gain(value, float(np.sqrt((between**2 + deviation**2 / k) / prompts)), prompts)

    sample_size = required_sample_size(gain(seeds), deviation, images, seeds, margin, alpha)
    assert sample_size.seeds is not None
    assert not sample_size.at_least
    for value in np.linspace(-0.1, 0.05, 31):
        decided = gain(sample_size.seeds, float(value))
        assert min(p_below(decided, 0.0), p_above(decided, -margin)) <= alpha
    if sample_size.seeds > seeds + 1:
        fewer = gain(sample_size.seeds - 1, -margin / 2)
        assert min(p_below(fewer, 0.0), p_above(fewer, -margin)) > alpha, "and one seed fewer does not"


def test_prompts_are_named_if_no_number_of_seeds_is_enough() -> None:
    gain = Gain(-0.02, 0.03, 20)
    sample_size = required_sample_size(gain, 0.01, 40, 2, 0.05, 0.05)
    assert sample_size.seeds is None
    assert sample_size.prompts > 40
    scaled = Gain(-0.025, 0.03 * float(np.sqrt(20 / sample_size.prompts)), sample_size.prompts)
    assert min(p_below(scaled, 0.0), p_above(scaled, -0.05)) <= 0.05


def test_with_one_seed_the_number_is_a_lower_bound() -> None:
    sample_size = required_sample_size(Gain(-0.02, 0.03, 20), None, 20, 1, 0.05, 0.05)
    assert sample_size.at_least
    assert sample_size.seeds is not None
    assert sample_size.seeds > 1
    assert required_sample_size(Gain(0.0, 0.0, 3), None, 3, 1, 0.05, 0.05).seeds is None, (
        "identical images stay identical"
    )
