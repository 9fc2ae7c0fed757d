"""Scores as long tables: one line per image and metric, and one line per target and metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from layoutmark.atomic import staged_file

IMAGE_SCHEMA = pa.schema(
    [("method", pa.string()), ("sample", pa.string()), ("seed", pa.int64()), ("status", pa.string()),
     ("image", pa.string()), ("metric", pa.string()), ("value", pa.float64()), ("unscored", pa.string())]
)  # fmt: skip
TARGET_SCHEMA = pa.schema(
    [("method", pa.string()), ("sample", pa.string()), ("seed", pa.int64()), ("instance", pa.string()),
     ("metric", pa.string()), ("value", pa.float64()), ("unscored", pa.string())]
)  # fmt: skip
MAX_ROWS_PER_BATCH = 100_000
"""Rows in memory at a time."""
Row = tuple[Any, ...]


def render(results: Mapping[str, Any], run: Path, out: Path) -> Path:  # noqa: ARG001
    """Write scores.csv, scores.parquet, targets.csv and targets.parquet below `out`; returns scores.csv.

    Without a score, `value` is empty and `unscored` says why.  Texts are written unchanged, so a spreadsheet may read
    one that starts with ``=`` as a formula.
    """
    out.mkdir(parents=True, exist_ok=True)
    _write_table(out / "scores", _image_rows(results["images"]), IMAGE_SCHEMA)
    _write_table(out / "targets", _target_rows(results["images"]), TARGET_SCHEMA)
    return out / "scores.csv"


def _image_rows(images: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    for i in images:
        key = _valid_utf8(i["method"]), _valid_utf8(i["sample"]), i["seed"], i["status"], i["image"]
        for metric, value in i["scores"].items():
            yield *key, metric, *_split_score(value)


def _target_rows(images: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    for i in images:
        key = _valid_utf8(i["method"]), _valid_utf8(i["sample"]), i["seed"]
        for target, scores in i["instances"].items():
            for metric, value in scores.items():
                yield *key, _valid_utf8(target), metric, *_split_score(value)


def _split_score(value: Any) -> tuple[float | None, str | None]:
    """Value and reason, one of which is None."""
    return (None, _valid_utf8(value["unscored"])) if isinstance(value, Mapping) else (float(value), None)


def _valid_utf8(value: object) -> str:
    """Text without lone surrogates."""
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _write_table(path: Path, rows: Iterator[Row], schema: pa.Schema) -> None:
    """Write `path`.csv and `path`.parquet."""
    with (
        staged_file(path.with_suffix(".csv")) as csv_path,
        staged_file(path.with_suffix(".parquet")) as parquet_path,
        pa.csv.CSVWriter(csv_path, schema) as csv_writer,
        pa.parquet.ParquetWriter(parquet_path, schema) as parquet_writer,
    ):
        for batch in _make_batches(rows, schema):
            csv_writer.write_batch(batch)
            parquet_writer.write_batch(batch)


def _make_batches(rows: Iterator[Row], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """At least one batch, so that an empty table has its columns."""
    pending: list[Row] = []
    for row in rows:
        pending.append(row)
        if len(pending) == MAX_ROWS_PER_BATCH:
            yield _make_batch(pending, schema)
            pending = []
    yield _make_batch(pending, schema)


def _make_batch(rows: Sequence[Row], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [[] for _ in schema]
    return pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
