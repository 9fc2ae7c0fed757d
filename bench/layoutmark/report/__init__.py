"""What readers get of a run: a table in the terminal, a data frame, and the reports of `reports/`."""

from layoutmark.report.rendering import write_report
from layoutmark.report.table import print_table, rows_frame

__all__ = ["print_table", "rows_frame", "write_report"]
