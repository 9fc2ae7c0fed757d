"""Comparing rows of results: which may be compared, intervals, paired differences, ties, ranks and study designs."""

from layoutmark.compare.bounds import add_normalised_values, metrics_led_by_adversaries
from layoutmark.compare.designs import design_study
from layoutmark.compare.pairs import paired_differences
from layoutmark.compare.ranking import incomplete_methods, pareto_set, rank_methods, tied_methods
from layoutmark.compare.rows import cells_by_instance_count, result_row
from layoutmark.compare.stored_runs import compare_runs, read_rows, restore_results

__all__ = [
    "add_normalised_values",
    "cells_by_instance_count",
    "compare_runs",
    "design_study",
    "incomplete_methods",
    "metrics_led_by_adversaries",
    "paired_differences",
    "pareto_set",
    "rank_methods",
    "read_rows",
    "restore_results",
    "result_row",
    "tied_methods",
]
