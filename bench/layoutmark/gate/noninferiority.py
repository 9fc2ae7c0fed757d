"""The tests behind a gate: is the candidate proven worse, proven not worse by more than the margin, or neither?

A gain is candidate minus baseline, signed so that positive is better.  Two one-sided t tests, clustered by prompt, are
applied to it: "worse" rejects a gain of 0 or more, "not worse" rejects a loss of the margin or more.  A gate fails only
on what is proven worse, so an unchanged method fails with probability at most `alpha`; it passes only on what is proven
not worse.  Anything else is inconclusive until there are more images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit


@dataclass(frozen=True, slots=True)
class Gain:
    """Candidate minus baseline in the metric's unit, positive where the candidate is better, with its standard error.

    >>> round(Gain(-0.02, 0.01, clusters=30).half_width(0.05), 4)
    0.017
    """

    value: float
    error: float
    clusters: int

    def half_width(self, alpha: float) -> float:
        """Return the distance of the one-sided bounds at level `alpha` from the value."""
        return _t_quantile(self.clusters, alpha) * self.error


def p_above(gain: Gain, bound: float) -> float:
    """Return the one-sided p-value of "the true gain is at most `bound`": small if it is proven to be above.

    Without any spread between prompts, t is undefined; the p-value is then that of a sign test in which all prompts
    agree.

    >>> round(p_above(Gain(-0.02, 0.01, clusters=30), -0.05), 4)
    0.0027
    """
    distance = gain.value - bound
    if gain.error > 0:
        return float(stdtr(gain.clusters - 1, -distance / gain.error))
    return 2.0**-gain.clusters if distance > 0 else 1.0


def p_below(gain: Gain, bound: float) -> float:
    """Return the one-sided p-value of "the true gain is at least `bound`": small if it is proven to be below.

    >>> round(p_below(Gain(-0.02, 0.01, clusters=30), 0.0), 4)
    0.0275
    """
    return p_above(Gain(-gain.value, gain.error, gain.clusters), -bound)


@dataclass(frozen=True, slots=True)
class SampleSize:
    """How much data settles a gate: `seeds` per sample in total, or about `prompts` if no number of seeds is enough.

    `at_least`: there is one seed per sample, so differences between samples and between seeds cannot be told apart; if
    samples differ too, more seeds are needed.
    """

    seeds: int | None
    prompts: int
    at_least: bool


def required_sample_size(
    gain: Gain, seed_deviation: float | None, images: int, seeds: int, margin: float, alpha: float
) -> SampleSize:
    """Return the sample size at which the one-sided bounds lie within one margin, so that any gain is decided.

    >>> required_sample_size(Gain(-0.02, 0.02, clusters=30), 0.15, images=60, seeds=2, margin=0.05, alpha=0.05)
    SampleSize(seeds=4, prompts=30, at_least=False)

    Args:
        gain: the gain measured so far.
        seed_deviation: standard deviation of one image's gain between the seeds of a sample; None with a single seed.
        images: number of images so far.
        seeds: number of seeds per sample so far.
        margin: the loss that must be detected.
        alpha: level of each test.
    """
    half_width = margin / (2 * _t_quantile(gain.clusters, alpha))
    seed_variance = gain.error**2 if seed_deviation is None else min(gain.error**2, seed_deviation**2 / images)
    allowed_seed_variance = half_width**2 - (gain.error**2 - seed_variance)
    if seed_variance == 0 or allowed_seed_variance <= 0:
        return SampleSize(None, _required_prompts(gain, margin, alpha), seed_deviation is None)
    # At least one more: this is only computed if the present seeds did not decide.
    required_seeds = max(seeds + 1, math.ceil(seeds * seed_variance / allowed_seed_variance))
    return SampleSize(required_seeds, gain.clusters, seed_deviation is None)


def _required_prompts(gain: Gain, margin: float, alpha: float) -> int:
    """Return the number of prompts that decides, if they are like the present ones."""
    prompts = max(gain.clusters + 1, math.ceil(-math.log2(alpha)))
    while 2 * _t_quantile(prompts, alpha) * gain.error * math.sqrt(gain.clusters / prompts) > margin:
        prompts = math.ceil(prompts * 1.05)
    return prompts


def _t_quantile(clusters: int, alpha: float) -> float:
    return float(stdtrit(clusters - 1, 1 - alpha))
