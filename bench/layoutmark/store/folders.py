"""Folders of the working data and of the runs."""

from __future__ import annotations

import os
from pathlib import Path


def home_folder() -> Path:
    """The working data (store, built suites, locks): $LAYOUTMARK_HOME, or .layoutmark in the current folder."""
    return Path(os.environ.get("LAYOUTMARK_HOME") or ".layoutmark")


def runs_folder() -> Path:
    """The folder of run folders: $LAYOUTMARK_RUNS, or runs in the current folder."""
    return Path(os.environ.get("LAYOUTMARK_RUNS") or "runs")
