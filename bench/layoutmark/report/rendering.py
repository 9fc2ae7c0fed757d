"""Renders a report of a run with a plug-in of `reports/`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layoutmark.errors import LayoutmarkError
from layoutmark.registry import Registry

DEFAULT_FOLDER = "report"


def write_report(
    results: Mapping[str, Any], run: Path, kind: str = "html", registry: Registry | None = None, out: Path | None = None
) -> Path:
    """Write report `kind` of `results` (the content of results.json) below `out`; returns the file to open.

    `out` defaults to `run`/report.  Raises LayoutmarkError for an unknown kind (with the closest names), for results
    that the report cannot read, and if the report writes no file.
    """
    entry = (registry or Registry()).get_report(kind)
    plugin = entry.load()
    out = run / DEFAULT_FOLDER if out is None else out
    try:
        path = Path(plugin.render(results, run, out))
    except LayoutmarkError:
        raise
    except Exception as error:
        raise LayoutmarkError(
            f"report {kind!r}",
            found=f"{type(error).__name__}: {error}",
            expected="a rendered report",
            do=f"Run: layoutmark measure {run}. If that does not help, open an issue with the output of --debug.",
        ) from error
    if not path.is_file():
        raise LayoutmarkError(
            f"report {kind!r}",
            found=f"no file {path}",
            expected=f"{entry.card.output} below {out}",
            do="Correct the plug-in's render.py.",
        )
    return path
