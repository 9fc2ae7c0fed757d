"""Where working data and runs are kept."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Working data (store, built suites): $LAYOUTMARK_HOME, else .layoutmark in the current folder."""
    return Path(os.environ.get("LAYOUTMARK_HOME") or ".layoutmark")


def runs_folder() -> Path:
    """Run folders: $LAYOUTMARK_RUNS, else runs in the current folder."""
    return Path(os.environ.get("LAYOUTMARK_RUNS") or "runs")
