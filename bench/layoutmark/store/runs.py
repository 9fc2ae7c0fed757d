"""Run folders (results.json, results.csv, detections.parquet) and the addresses of runs on the command line."""

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
from layoutmark.store.results_schema import RESULTS_SCHEMA, Results
from layoutmark.validation import validate

if TYPE_CHECKING:
    import pandas as pd

RESULTS_FILE, CSV_FILE, DETECTIONS_FILE = "results.json", "results.csv", "detections.parquet"
CSV_COLUMNS = ("method", "metric", "variant", "value", "low", "high", "n", "of", "unit", "higher_is_better", "unscored")


class RunFolder:
    """The folder of a run.  Every file is written completely or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_results(self, results: Mapping[str, Any]) -> Path:
        """Write results.json with sorted keys and exact numbers, so that equal results give equal bytes.

        Raises LayoutmarkError for results that `read_results` would refuse.
        """
        path = self.path / RESULTS_FILE
        try:
            text = json.dumps(dict(results), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        except (TypeError, ValueError) as error:
            raise _file_error(path, str(error), "plain finite values", "Report this as a bug.") from error
        _check_schema(path, json.loads(text), text)
        atomic.write_text(path, text)
        return path

    def read_results(self) -> dict[str, Any]:
        """Read results.json.  Raises LayoutmarkError with the file and its fault."""
        path = self.path / RESULTS_FILE
        try:
            text = path.read_text("utf-8")
            data = json.loads(text, parse_constant=_refuse_constant)
        except FileNotFoundError as error:
            raise _file_error(path, "no such file", "a finished run", "Run: layoutmark run") from error
        except json.JSONDecodeError as error:
            actual = f"broken JSON at line {error.lineno}, column {error.colno}: {error.msg}"
            raise _file_error(path, actual, "complete JSON", _measure_again(path)) from error
        except (ValueError, OSError) as error:
            raise _file_error(path, str(error), "JSON as layoutmark writes it", _measure_again(path)) from error
        _check_schema(path, data, text)
        results: dict[str, Any] = data
        return results

    def write_csv(self, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write the table of rows: one line per row, an empty cell for None, `unscored` as JSON."""
        extra_columns = sorted({key for row in rows for key in row} - set(CSV_COLUMNS))
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([*CSV_COLUMNS, *extra_columns])
        for row in rows:
            writer.writerow([_csv_cell(row.get(column)) for column in (*CSV_COLUMNS, *extra_columns)])
        atomic.write_text(self.path / CSV_FILE, buffer.getvalue())
        return self.path / CSV_FILE

    def write_detections(self, entries: Iterable[tuple[str, str, int, Detections]]) -> Path:
        """Write detections of (method, sample, seed) as one Parquet table; boxes as xyxy in fractions of the canvas."""
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
        atomic.write_bytes(self.path / DETECTIONS_FILE, buffer.getvalue())
        return self.path / DETECTIONS_FILE

    def read_detections(self) -> pd.DataFrame:
        """The table of `write_detections`.  Raises LayoutmarkError if it is missing or damaged."""
        import pandas as pd

        path = self.path / DETECTIONS_FILE
        try:
            return pd.read_parquet(path)
        except FileNotFoundError as error:
            raise _file_error(path, "no such file", "a table of detections", _measure_again(path)) from error
        except (OSError, ValueError) as error:
            raise _file_error(path, str(error), "a table of detections", _measure_again(path)) from error


def parse_run_address(text: str) -> tuple[Path, str | None]:
    """Parse ``RUN[:METHOD]`` into the run folder and the method, None without one.

    RUN is a path to a folder with results, or the name of such a folder in `runs_folder`.  A run folder with a colon in
    its name takes precedence.  Raises LayoutmarkError with the closest names if there is no such run.
    """
    folder = _find_run_folder(text)
    if folder is not None:
        return folder, None
    name, colon, method = text.rpartition(":")
    folder = _find_run_folder(name) if colon else None
    if folder is not None and method:
        return folder, method
    if folder is not None:
        raise LayoutmarkError("run address", found=repr(text), expected="RUN or RUN:METHOD", do="Name the method.")
    known = sorted(p.name for p in runs_folder().glob("*") if (p / RESULTS_FILE).is_file())
    close = [c for n in (text, name) for c in difflib.get_close_matches(n, known, n=1, cutoff=0.5)]
    raise LayoutmarkError(
        "unknown run",
        found=repr(name or text),
        expected=f"a run folder, or one of {', '.join(known) or '(none)'} in {runs_folder()}",
        do=f"Did you mean {close[0]!r}?" if close else "Run: layoutmark run",
    )


def _find_run_folder(name: str) -> Path | None:
    candidates = [Path(name)] if "/" in name else [runs_folder() / name, Path(name)]
    return next((path for path in candidates if name and (path / RESULTS_FILE).is_file()), None)


def _check_schema(path: Path, data: Any, text: str) -> None:
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != RESULTS_SCHEMA:
        known_name, _, known_number = RESULTS_SCHEMA.rpartition("-")
        name, _, number = str(schema or "").rpartition("-")
        advice = _measure_again(path)
        if name == known_name and number.isdigit() and int(number) > int(known_number):
            advice = "Update layoutmark: pip install --upgrade layoutmark"
        raise _file_error(path, f"schema {schema!r}", repr(RESULTS_SCHEMA), advice)
    validate(data, Results, str(path), text=text, file_format="JSON", advice=_measure_again(path))


def _measure_again(path: Path) -> str:
    return f"Score the run again with this version: layoutmark measure {path.parent}"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"the number {name}")


def _csv_cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


def _file_error(path: Path, found: str, expected: str, do: str) -> LayoutmarkError:
    return LayoutmarkError(str(path), found=found, expected=expected, do=do)
