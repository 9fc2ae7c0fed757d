"""Run folders: results.json, results.csv and detections.parquet, and how a run is addressed on the command line."""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layoutmark import atomic
from layoutmark.errors import LayoutmarkError
from layoutmark.evidence import Detections
from layoutmark.store.folders import runs_folder
from layoutmark.store.results_schema import SCHEMA, problem

if TYPE_CHECKING:
    import pandas as pd

RESULTS, TABLE, DETECTIONS = "results.json", "results.csv", "detections.parquet"
COLUMNS = ("method", "metric", "variant", "value", "low", "high", "n", "of", "unit", "higher_is_better", "unscored")


class RunFolder:
    """A folder below `runs/`.  Every file is written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_results(self, results: Mapping[str, Any]) -> Path:
        """Write results.json: keys sorted, numbers exact, so equal results give equal bytes.

        Raises LayoutmarkError if they have not the form that `read_results` asks for.
        """
        path = self.path / RESULTS
        try:
            text = json.dumps(dict(results), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        except (TypeError, ValueError) as error:
            raise _damaged(path, str(error), "plain finite values", "Report this as a bug.") from error
        _check(path, json.loads(text))
        atomic.write_text(path, text)
        return path

    def read_results(self) -> dict[str, Any]:
        """Read results.json.  Raises LayoutmarkError naming the file and what is wrong with it."""
        path = self.path / RESULTS
        try:
            data = json.loads(path.read_text("utf-8"), parse_constant=_no_constant)
        except FileNotFoundError as error:
            raise _damaged(path, "no such file", "a finished run", "Run: layoutmark run") from error
        except json.JSONDecodeError as error:
            found = f"broken JSON at line {error.lineno}, column {error.colno}: {error.msg}"
            raise _damaged(path, found, "complete JSON", "Score the run again.") from error
        except (ValueError, OSError) as error:
            raise _damaged(path, str(error), "JSON as layoutmark writes it", "Score the run again.") from error
        _check(path, data)
        results: dict[str, Any] = data
        return results

    def write_csv(self, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write the rows table: one line a row, an empty cell for None, `unscored` as JSON."""
        extra = sorted({key for row in rows for key in row} - set(COLUMNS))
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([*COLUMNS, *extra])
        for row in rows:
            writer.writerow([_cell(row.get(column)) for column in (*COLUMNS, *extra)])
        atomic.write_text(self.path / TABLE, buffer.getvalue())
        return self.path / TABLE

    def write_detections(self, entries: Iterable[tuple[str, str, int, Detections]]) -> Path:
        """Write all detections of (method, sample, seed) as one Parquet table, corners normalised xyxy."""
        import pandas as pd

        listed = list(entries)
        sizes = [len(d) for *_, d in listed]
        boxes = np.concatenate([np.zeros((0, 4)), *(d.boxes.reshape(-1, 4) for *_, d in listed)])
        frame = pd.DataFrame(
            {
                "method": pd.Series(np.repeat([m for m, *_ in listed], sizes), dtype="str"),
                "sample": pd.Series(np.repeat([s for _, s, *_ in listed], sizes), dtype="str"),
                "seed": np.repeat(np.array([s for *_, s, _ in listed], np.int64), sizes),
                **{name: boxes[:, i] for i, name in enumerate(("x0", "y0", "x1", "y1"))},
                "score": np.concatenate([np.zeros(0), *(d.scores for *_, d in listed)]),
                "label": pd.Series([label for *_, d in listed for label in d.labels], dtype="str"),
            }
        )
        buffer = io.BytesIO()
        frame.to_parquet(buffer, index=False, compression="zstd")
        atomic.write_bytes(self.path / DETECTIONS, buffer.getvalue())
        return self.path / DETECTIONS

    def read_detections(self) -> pd.DataFrame:
        """The table of `write_detections`.  Raises LayoutmarkError if it is missing or damaged."""
        import pandas as pd

        path = self.path / DETECTIONS
        try:
            return pd.read_parquet(path)
        except FileNotFoundError as error:
            raise _damaged(path, "no such file", "a table of detections", "Measure the run again.") from error
        except (OSError, ValueError) as error:
            raise _damaged(path, str(error), "a table of detections", "Measure the run again.") from error


def parse_address(text: str) -> tuple[Path, str | None]:
    """Read ``RUN[:METHOD]``: the run folder, and the method or None.

    RUN is a path to a folder with results, or the name of one below `home.runs_folder`.
    Raises LayoutmarkError with the closest names if there is no such run.
    """
    whole = _run_folder(text)
    if whole is not None:
        return whole, None
    name, colon, method = text.rpartition(":")
    folder = _run_folder(name) if colon else None
    if folder is not None and method:
        return folder, method
    if folder is not None:
        raise LayoutmarkError("run address", found=repr(text), expected="RUN or RUN:METHOD", do="Name the method.")
    known = sorted(p.name for p in runs_folder().glob("*") if (p / RESULTS).is_file())
    close = [c for n in (text, name) for c in difflib.get_close_matches(n, known, n=1, cutoff=0.5)]
    raise LayoutmarkError(
        "unknown run",
        found=repr(name or text),
        expected=f"a run folder, or one of {', '.join(known) or '(none)'} in {runs_folder()}",
        do=f"Did you mean {close[0]!r}?" if close else "Run: layoutmark run",
    )


def _run_folder(text: str) -> Path | None:
    candidates = [Path(text)] if "/" in text else [runs_folder() / text, Path(text)]
    return next((p for p in candidates if text and (p / RESULTS).is_file()), None)


def _check(path: Path, data: Any) -> None:
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA:
        family, _, number = str(schema or "").rpartition("-")
        advice = "Score the run again."
        if family == SCHEMA.rpartition("-")[0] and number.isdigit():
            newer = int(number) > int(SCHEMA.rpartition("-")[2])
            advice = (
                "Update layoutmark: pip install --upgrade layoutmark"
                if newer
                else f"Score the run again with this version: layoutmark measure {path.parent}"
            )
        raise _damaged(path, f"schema {schema!r}", repr(SCHEMA), advice)
    wrong = problem(data)
    if wrong is not None:
        where, found, expected = wrong
        raise LayoutmarkError(f"{path}, {where}", found=found, expected=expected, do="Score the run again.")


def _no_constant(name: str) -> float:
    raise ValueError(f"the number {name}")


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


def _damaged(path: Path, found: str, expected: str, do: str) -> LayoutmarkError:
    return LayoutmarkError(str(path), found=found, expected=expected, do=do)
