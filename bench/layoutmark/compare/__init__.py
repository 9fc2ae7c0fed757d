"""Which numbers may be compared, and their differences: intervals of rows, paired differences, ties, ranks, designs."""

from layoutmark.compare.bounds import adversaries_ahead, normalised
from layoutmark.compare.designs import design_study
from layoutmark.compare.pairs import all_pairs
from layoutmark.compare.ranking import all_ranks, all_ties, incomplete, pareto
from layoutmark.compare.rows import by_count, result_row
from layoutmark.compare.stored_runs import compare_runs, read_rows, restored

__all__ = [
    "adversaries_ahead", "all_pairs", "all_ranks", "all_ties", "by_count", "compare_runs", "design_study", "incomplete",
    "normalised", "pareto",
    "read_rows", "restored", "result_row",
]  # fmt: skip
