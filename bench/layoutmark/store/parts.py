"""Parquet parts of features: one row per key, one list column per array name and type, its shape beside it.

Column ``clip/image|float32`` holds the values in C order, ``clip/image|float32|shape`` the shape; an array that an
entry does not have is null in both.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from layoutmark.errors import LayoutmarkError

Arrays = Mapping[str, npt.NDArray[Any]]


def encode(entries: Sequence[tuple[str, Arrays]]) -> bytes:
    """A Parquet file of the entries, in order.  Raises LayoutmarkError for arrays of objects."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[npt.NDArray[Any] | None]] = {}
    for row, (_, arrays) in enumerate(entries):
        for name, value in arrays.items():
            array = _plain(name, np.asarray(value))
            column = columns.setdefault(f"{name}|{_kind(array)}", [None] * len(entries))
            column[row] = array
    table: dict[str, Any] = {"key": pa.array([key for key, _ in entries], pa.string())}
    for column_name in sorted(columns):
        cells = columns[column_name]
        table[column_name] = _lists([None if c is None else c.reshape(-1) for c in cells])
        table[f"{column_name}|shape"] = _lists([None if c is None else np.array(c.shape, np.int64) for c in cells])
    buffer = io.BytesIO()
    pq.write_table(pa.table(table), buffer, compression="zstd")
    return buffer.getvalue()


def decode(data: bytes, rows: Mapping[str, int]) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """The entries of `rows` (key -> row number).  Raises ValueError if the file is damaged or holds others."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
        keys = table.column("key").to_pylist()
        wrong = [key for key, row in rows.items() if row >= len(keys) or keys[row] != key]
        if wrong:
            raise ValueError(f"no row for key {wrong[0]}")
        found: dict[str, dict[str, npt.NDArray[Any]]] = {key: {} for key in rows}
        for column in table.column_names:
            name, bar, kind = column.rpartition("|")
            if not bar or kind == "shape":
                continue
            values, shapes = table.column(column), table.column(f"{column}|shape")
            for key, row in rows.items():
                if values[row].is_valid:
                    shape = tuple(shapes[row].as_py())
                    found[key][name] = _array(values[row].values, kind).reshape(shape)
    except (pa.ArrowException, KeyError, OSError) as error:
        raise ValueError(str(error)) from error
    return found


def _lists(cells: Iterable[npt.NDArray[Any] | None]) -> Any:
    """An Arrow list array: one flat array or null per row.  Built from buffers, so that NaN stays NaN."""
    import pyarrow as pa

    cells = list(cells)
    sizes = [0 if c is None else len(c) for c in cells]
    flat = np.concatenate([c for c in cells if c is not None])
    values = pa.array(flat.tolist(), pa.string()) if flat.dtype.kind == "U" else pa.array(flat, from_pandas=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))
    return pa.LargeListArray.from_arrays(offsets, values, mask=pa.array([c is None for c in cells]))


def _array(values: Any, kind: str) -> npt.NDArray[Any]:
    if kind == "str":
        return np.array(values.to_pylist(), dtype=np.str_)
    return np.array(values.to_numpy(zero_copy_only=False), dtype=np.dtype(kind))


def _plain(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype.kind in "biufU":
        return array
    raise LayoutmarkError(
        f"feature {name!r}", found=f"dtype {array.dtype}", expected="numbers, booleans or texts", do="Convert it."
    )


def _kind(array: npt.NDArray[Any]) -> str:
    return "str" if array.dtype.kind == "U" else array.dtype.name
