"""Intervals, paired differences, multiplicity, ranks, seeds and power: pure functions of numbers.

Nothing here reads files, draws images or knows a metric.  Callers pass scored values only, each with the key of
its cluster; a value that is not scored stays with the caller, who counts it.  A number that is not finite is
refused, because a NaN that slips into a mean or a quantile is hard to see afterwards.
"""

from layoutmark.statistics.correlation import spearman
from layoutmark.statistics.interval import Interval, mean_interval
from layoutmark.statistics.multiplicity import holm, tie_groups
from layoutmark.statistics.paired import PairedDifference, paired_mean_difference, paired_statistic_difference
from layoutmark.statistics.planning import Design, Spread, designs, split_spread
from layoutmark.statistics.power import needed_clusters
from layoutmark.statistics.ranking import Place, best_shares, rank_intervals
from layoutmark.statistics.resampling import (
    bootstrap_interval,
    cluster_weights,
    half_deviations,
    half_sample_interval,
    half_weights,
    jackknife_interval,
    pseudo_values,
)
from layoutmark.statistics.seeds import derive_seed

__all__ = [
    "Design",
    "Interval",
    "PairedDifference",
    "Place",
    "Spread",
    "best_shares",
    "bootstrap_interval",
    "cluster_weights",
    "derive_seed",
    "designs",
    "half_deviations",
    "half_sample_interval",
    "half_weights",
    "holm",
    "jackknife_interval",
    "mean_interval",
    "needed_clusters",
    "paired_mean_difference",
    "paired_statistic_difference",
    "pseudo_values",
    "rank_intervals",
    "spearman",
    "split_spread",
    "tie_groups",
]
