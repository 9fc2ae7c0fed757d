"""Intervals, paired differences, multiple comparisons, ranks, seeds and power: pure functions of numbers.

Nothing here reads files, generates images or knows about metrics. Callers pass only values that were scored, each with
the key of its cluster (the prompt), and report the unscored ones themselves. NaN and infinity are refused, because once
they enter a mean or a quantile they are hard to notice.
"""

from layoutmark.statistics.correlation import spearman
from layoutmark.statistics.interval import Interval, mean_interval
from layoutmark.statistics.multiplicity import holm, tie_groups
from layoutmark.statistics.paired import PairedDifference, paired_mean_difference, paired_statistic_difference
from layoutmark.statistics.planning import Design, Spread, estimate_spread, smallest_designs
from layoutmark.statistics.power import needed_clusters
from layoutmark.statistics.ranking import RankInterval, best_probabilities, rank_intervals
from layoutmark.statistics.resampling import (
    bootstrap_interval,
    bootstrap_weights,
    half_sample_deviations,
    half_sample_interval,
    half_sample_weights,
    jackknife_interval,
    pseudo_values,
)
from layoutmark.statistics.seeds import derive_seed

__all__ = [
    "Design",
    "Interval",
    "PairedDifference",
    "RankInterval",
    "Spread",
    "best_probabilities",
    "bootstrap_interval",
    "bootstrap_weights",
    "derive_seed",
    "estimate_spread",
    "half_sample_deviations",
    "half_sample_interval",
    "half_sample_weights",
    "holm",
    "jackknife_interval",
    "mean_interval",
    "needed_clusters",
    "paired_mean_difference",
    "paired_statistic_difference",
    "pseudo_values",
    "rank_intervals",
    "smallest_designs",
    "spearman",
    "tie_groups",
]
