"""Output of commands: JSON, plain tables, and the summary page of a CI job."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

UNFOLDED_WIDTH = 1000
"""Columns of a table that goes to a file or a pipe: wide enough that no row is folded."""
MAX_UNBROKEN_LETTERS = 20
"""Words up to this length are never broken; every method's title has shorter ones."""


def print_json(data: Any) -> None:
    """Print plain data as JSON with sorted keys."""
    print(json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False))


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print a table.  On a terminal wide columns are folded between words; the first column, the name, never is.

    In a file or a pipe each row is one line, unless COLUMNS sets a width.
    """
    from rich.console import Console
    from rich.table import Table

    is_unfolded = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console = Console(soft_wrap=False, width=UNFOLDED_WIDTH if is_unfolded else None)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", title=title or None)
    cells = list(rows)
    for index, column in enumerate(columns):
        lengths = [len(word) for row in cells for word in row[index].split()]
        longest = max((length for length in lengths if length <= MAX_UNBROKEN_LETTERS), default=None)
        table.add_column(column, overflow="fold", no_wrap=index == 0, min_width=longest)
    for row in cells:
        table.add_row(*row)
    console.print(table, markup=False)


def short_names(addresses: Iterable[str]) -> dict[str, str]:
    """Display names of rows by address: RUN:METHOD, or METHOD alone if all rows belong to one run.

    >>> short_names(["mini:base", "mini:ilgd"])
    {'mini:base': 'base', 'mini:ilgd': 'ilgd'}
    >>> short_names(["a:base", "b:base"])
    {'a:base': 'a:base', 'b:base': 'b:base'}
    """
    names = list(addresses)
    is_one_run = len({name.rpartition(":")[0] for name in names}) == 1
    return {name: name.rpartition(":")[2] if is_one_run else name for name in names}


def add_to_step_summary(markdown: str) -> None:
    """Append `markdown` to the summary page of a GitHub Actions job; does nothing elsewhere."""
    summary_file = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary_file:
        with open(summary_file, "a", encoding="utf-8") as file:  # other steps have written there too
            file.write(markdown)
