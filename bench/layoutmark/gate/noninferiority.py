"""The test of a gate: is the candidate proven worse, proven not worse by the margin, or neither?

A gain is candidate less baseline, turned so that more is better.  Two one-sided t tests look at it, both clustered by
prompt: "worse" rejects a gain of 0 or more, "not worse" rejects a loss of the margin or more.  A gate fails only on
what is proven worse, so no change fails with at most the chance `alpha`; it passes only on what is proven not worse by
the margin.  What lies between is undecided, and more images decide it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit


@dataclass(frozen=True, slots=True)
class Gain:
    """Candidate less baseline in the unit of the metric, above 0 where the candidate is better; its standard error."""

    value: float
    error: float
    clusters: int

    def reach(self, alpha: float) -> float:
        """How far the one-sided bounds at `alpha` lie from the value."""
        return _t(self.clusters, alpha) * self.error


def p_above(gain: Gain, bound: float) -> float:
    """One-sided p of "the true gain is at most `bound`": small where it is proven to lie above.

    Without any spread between prompts t is not defined; then prompts count as so many coins that fell alike.
    """
    distance = gain.value - bound
    if gain.error > 0:
        return float(stdtr(gain.clusters - 1, -distance / gain.error))
    return 2.0**-gain.clusters if distance > 0 else 1.0


def p_below(gain: Gain, bound: float) -> float:
    """One-sided p of "the true gain is at least `bound`"."""
    return p_above(Gain(-gain.value, gain.error, gain.clusters), -bound)


@dataclass(frozen=True, slots=True)
class Needed:
    """What decides: `seeds` per sample in all, or None if no number of seeds does; then about `prompts`.

    `at_least` says that one seed per sample cannot tell samples from seeds: if samples differ too, more are needed.
    """

    seeds: int | None
    prompts: int
    at_least: bool


def needed(gain: Gain, by_seed: float | None, images: int, seeds: int, margin: float, alpha: float) -> Needed:
    """Seeds with which any gain is decided: both bounds at `alpha` then lie within one margin.

    by_seed: standard deviation, between seeds of one sample, of the gain of an image; None with one seed.
    images, seeds: how many images there are now, and of each sample.
    """
    half = margin / (2 * _t(gain.clusters, alpha))
    of_seeds = gain.error**2 if by_seed is None else min(gain.error**2, by_seed**2 / images)
    room = half**2 - (gain.error**2 - of_seeds)
    if of_seeds == 0 or room <= 0:
        return Needed(None, _prompts(gain, margin, alpha), by_seed is None)
    # One more at least: it is asked only where those there are did not decide.
    return Needed(max(seeds + 1, math.ceil(seeds * of_seeds / room)), gain.clusters, by_seed is None)


def _prompts(gain: Gain, margin: float, alpha: float) -> int:
    """Prompts that decide, if they are like those there are."""
    found = max(gain.clusters + 1, math.ceil(-math.log2(alpha)))
    while 2 * _t(found, alpha) * gain.error * math.sqrt(gain.clusters / found) > margin:
        found = math.ceil(found * 1.05)
    return found


def _t(clusters: int, alpha: float) -> float:
    return float(stdtrit(clusters - 1, 1 - alpha))
