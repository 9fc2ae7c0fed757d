"""Scores as long tables: one line an image and metric, and one line a target and metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

IMAGES = pa.schema(
    [("method", pa.string()), ("sample", pa.string()), ("seed", pa.int64()), ("status", pa.string()),
     ("image", pa.string()), ("metric", pa.string()), ("value", pa.float64()), ("unscored", pa.string())]
)  # fmt: skip
TARGETS = pa.schema(
    [("method", pa.string()), ("sample", pa.string()), ("seed", pa.int64()), ("instance", pa.string()),
     ("metric", pa.string()), ("value", pa.float64()), ("unscored", pa.string())]
)  # fmt: skip
CHUNK = 100_000
"""Lines that are held in memory at a time."""


def render(results: Mapping[str, Any], run: Path, out: Path) -> Path:  # noqa: ARG001
    """Write scores.csv, scores.parquet, targets.csv and targets.parquet below `out`; returns scores.csv.

    `value` is empty where there is no score, and `unscored` then says why.  Texts stand as they are in the results: a
    spreadsheet may take one that starts with ``=`` for a formula.
    """
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "scores", _scores(results["images"]), IMAGES)
    _write(out / "targets", _targets(results["images"]), TARGETS)
    return out / "scores.csv"


def _scores(images: list[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    for i in images:
        for metric, value in i["scores"].items():
            yield (
                _text(i["method"]), _text(i["sample"]), i["seed"], i["status"], i["image"], metric, *_outcome(value)
            )  # fmt: skip


def _targets(images: list[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    for i in images:
        for target, scores in i["instances"].items():
            for metric, value in scores.items():
                yield _text(i["method"]), _text(i["sample"]), i["seed"], _text(target), metric, *_outcome(value)


def _outcome(value: Any) -> tuple[float | None, str | None]:
    return (None, _text(value["unscored"])) if isinstance(value, Mapping) else (float(value), None)


def _text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _write(path: Path, lines: Iterator[tuple[Any, ...]], schema: pa.Schema) -> None:
    parts = [path.with_suffix(f"{end}.part") for end in (".csv", ".parquet")]
    with pa.csv.CSVWriter(parts[0], schema) as text, pa.parquet.ParquetWriter(parts[1], schema) as columns:
        for batch in _batches(lines, schema):
            text.write_batch(batch)
            columns.write_batch(batch)
    for part in parts:
        part.replace(part.with_suffix(""))


def _batches(lines: Iterator[tuple[Any, ...]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    held: list[tuple[Any, ...]] = []
    for line in lines:
        held.append(line)
        if len(held) == CHUNK:
            yield _batch(held, schema)
            held = []
    yield _batch(held, schema)


def _batch(lines: list[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*lines, strict=True) if lines else [[] for _ in schema]
    return pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
