"""Render a report of a run with a guest of `reports/`, found by name on the shelf."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layoutmark.errors import LayoutmarkError
from layoutmark.registry import Registry

FOLDER = "report"


def write_report(
    results: Mapping[str, Any], run: Path, kind: str = "html", registry: Registry | None = None, out: Path | None = None
) -> Path:
    """Write report `kind` of `results` (the content of results.json) below `out`; returns the file to open.

    `out` is `run`/report when it is not given.

    Raises LayoutmarkError for an unknown kind (with the closest names), for results the report cannot read, and when
    the report leaves no file.
    """
    entry = (registry or Registry()).get_report(kind)
    module = entry.load()
    out = run / FOLDER if out is None else out
    try:
        path = Path(module.render(results, run, out))
    except LayoutmarkError:
        raise
    except Exception as error:
        raise LayoutmarkError(
            f"report {kind!r}",
            found=f"{type(error).__name__}: {error}",
            expected="a rendered report",
            do="Score the run again; if that does not help, report this with the output of --debug.",
        ) from error
    if not path.is_file():
        raise LayoutmarkError(
            f"report {kind!r}",
            found=f"no file {path}",
            expected=f"{entry.card.output} below {out}",
            do="Repair its render.py.",
        )
    return path
