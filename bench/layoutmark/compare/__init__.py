"""Which numbers may be compared, and their differences: intervals of rows, paired differences, ties, ranks."""

from layoutmark.compare.pairs import all_pairs
from layoutmark.compare.ranking import all_ranks, all_ties, pareto
from layoutmark.compare.rows import result_row
from layoutmark.compare.stored import compare_runs

__all__ = ["all_pairs", "all_ranks", "all_ties", "compare_runs", "pareto", "result_row"]
