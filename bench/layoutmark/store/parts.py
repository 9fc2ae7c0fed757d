"""Parquet files (parts) of features: one row per key, one list column per array name and dtype, its shape beside it.

Column ``clip/image|float32`` has the values in C order, ``clip/image|float32|shape`` the shape.  Both are null for an
entry without that array.
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
    """Encode entries (key, arrays by name) as Parquet, in order.  Raises LayoutmarkError for arrays of objects."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[npt.NDArray[Any] | None]] = {}
    for row, (_, arrays) in enumerate(entries):
        for name, value in arrays.items():
            array = _check_dtype(name, np.asarray(value))
            column = columns.setdefault(f"{name}|{_dtype_name(array)}", [None] * len(entries))
            column[row] = array
    table: dict[str, Any] = {"key": pa.array([key for key, _ in entries], pa.string())}
    for column_name in sorted(columns):
        cells = columns[column_name]
        table[column_name] = _list_array([None if c is None else c.reshape(-1) for c in cells])
        table[f"{column_name}|shape"] = _list_array([None if c is None else np.array(c.shape, np.int64) for c in cells])
    buffer = io.BytesIO()
    pq.write_table(pa.table(table), buffer, compression="zstd")
    return buffer.getvalue()


def decode(data: bytes, rows: Mapping[str, int]) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """Decode the entries of `rows` (row number by key).  Raises ValueError if the file is damaged or has other keys."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(data))
        keys = table.column("key").to_pylist()
        misplaced_keys = [key for key, row in rows.items() if row >= len(keys) or keys[row] != key]
        if misplaced_keys:
            raise ValueError(f"no row for key {misplaced_keys[0]}")
        entries: dict[str, dict[str, npt.NDArray[Any]]] = {key: {} for key in rows}
        for column in table.column_names:
            name, separator, dtype_name = column.rpartition("|")
            if not separator or dtype_name == "shape":
                continue
            values, shapes = table.column(column), table.column(f"{column}|shape")
            for key, row in rows.items():
                if values[row].is_valid:
                    shape = tuple(shapes[row].as_py())
                    entries[key][name] = _numpy_array(values[row].values, dtype_name).reshape(shape)
    except (pa.ArrowException, KeyError, OSError) as error:
        raise ValueError(str(error)) from error
    return entries


def _list_array(cells: Iterable[npt.NDArray[Any] | None]) -> Any:
    """Arrow list array with one flat array or null per row, built from buffers so that NaN stays NaN."""
    import pyarrow as pa

    cells = list(cells)
    sizes = [0 if c is None else len(c) for c in cells]
    flat = np.concatenate([c for c in cells if c is not None])
    values = pa.array(flat.tolist(), pa.string()) if flat.dtype.kind == "U" else pa.array(flat, from_pandas=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))
    return pa.LargeListArray.from_arrays(offsets, values, mask=pa.array([c is None for c in cells]))


def _numpy_array(values: Any, dtype_name: str) -> npt.NDArray[Any]:
    if dtype_name == "str":
        return np.array(values.to_pylist(), dtype=np.str_)
    return np.array(values.to_numpy(zero_copy_only=False), dtype=np.dtype(dtype_name))


def _check_dtype(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype.kind in "biufU":
        return array
    raise LayoutmarkError(
        f"feature {name!r}", found=f"dtype {array.dtype}", expected="numbers, booleans or strings", do="Convert it."
    )


def _dtype_name(array: npt.NDArray[Any]) -> str:
    return "str" if array.dtype.kind == "U" else array.dtype.name
