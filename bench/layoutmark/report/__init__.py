"""The results of a run for readers: a table in the terminal, a data frame, and the reports of `reports/`."""

from layoutmark.report.dataframe import rows_to_dataframe
from layoutmark.report.rendering import write_report
from layoutmark.report.table import print_table

__all__ = ["print_table", "rows_to_dataframe", "write_report"]
