"""Readers for files from other sources: text, JSON, JSON lines, YAML, tables and pickles of plain values.

A file that cannot be read is refused with a LayoutmarkError that names the file and, if known, the line and the field.
The readers raise nothing else.
"""

from __future__ import annotations

import csv
import io
import json
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from layoutmark.errors import LayoutmarkError, MissingPackageError

MAX_FIELD_CHARACTERS = 1 << 24
"""Longest field of a table; Open Images lists hundreds of clicks in one field."""
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
"""Places where JSON text may hold a lone surrogate, which no file can be written with."""


def invalid_input_error(where: str, found: str, expected: str, do: str = "Correct the file.") -> LayoutmarkError:
    """The error for a file that cannot be used; `where` names the file and, if known, the line and the field.

    >>> invalid_input_error("file a.json, boxes", "a dict", "a list")
    LayoutmarkError('file a.json, boxes: found a dict; expected a list. Correct the file.')
    """
    return LayoutmarkError(where, found=found, expected=expected, do=do)


def find_files(source: Path, pattern: str, what: str) -> list[Path]:
    """`source` itself if it is a file, else the files in the folder `source` that match `pattern`, sorted by name.

    `what` names the input in the error, for example "suite lmd, source".
    Raises LayoutmarkError if no file matches.
    """
    paths = [source] if source.is_file() else sorted(source.glob(pattern))
    if not paths:
        raise invalid_input_error(
            what, f"no {pattern} in {source.name or source}", f"a file {pattern}", "Check --source."
        )
    return paths


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.  Raises LayoutmarkError if that fails."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise invalid_input_error(f"file {path.name}", str(error), "a text file in UTF-8") from error


def read_json(path: Path) -> Any:
    """Read a JSON file.  NaN and Infinity are accepted here: numbers are checked where they are used.

    Raises LayoutmarkError for invalid JSON, for a key that an object has twice, and for lone surrogates.
    """
    return _parse_json(read_text(path), f"file {path.name}")


def iter_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Stream a JSONL file as (line number from 1, value); blank lines are ignored.

    Raises LayoutmarkError as `read_json` does, naming the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _parse_json(line, f"file {path.name}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise invalid_input_error(f"file {path.name}", str(error), "a text file in UTF-8") from error


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values (the safe subset of YAML).

    Raises LayoutmarkError for invalid YAML and for a key that a mapping has twice, and MissingPackageError without
    PyYAML, which the extra `torch` brings.
    """
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise MissingPackageError.of(f"file {path.name}", "yaml", "torch") from error

    class UniqueKeyLoader(yaml.SafeLoader):  # type: ignore[misc,unused-ignore]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            if duplicates := [key for n, key in enumerate(keys) if key in keys[:n]]:
                raise _duplicate_key_error(f"file {path.name}, line {node.start_mark.line + 1}", duplicates[0])
            mapping: dict[Any, Any] = super().construct_mapping(node, deep)
            return mapping

    try:
        return yaml.load(read_text(path), UniqueKeyLoader)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        message = " ".join(str(error).split())
        raise invalid_input_error(f"file {path.name}", f"invalid YAML ({message})", "valid YAML") from error


def iter_table_rows(
    path: Path,
    required_columns: Sequence[str],
    *,
    header: Sequence[str] | None = None,
    delimiter: str | None = None,
    column_pattern: re.Pattern[str] | None = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Stream a CSV or TSV file as (line number from 1, row by column name); blank lines are ignored.

    Args:
        path: A table in UTF-8.
        required_columns: Names of columns that the table must have.
        header: Column names of a file without a header line.
        delimiter: The character between fields; by default a tab in .tsv and .tab files and a comma in others.
        column_pattern: At least one column name must match it in full.

    Raises LayoutmarkError if a required column is missing, a column name occurs twice, or a row has more or fewer
    fields than the header.
    """
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    where = f"file {path.name}"
    separator = delimiter or ("\t" if path.suffix.lower() in (".tsv", ".tab") else ",")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator)
            columns = list(header) if header is not None else [name.strip() for name in next(reader, [])]
            _check_columns(columns, required_columns, column_pattern, separator, f"{where}, line 1")
            for values in reader:
                if not values:
                    continue
                if len(values) != len(columns):
                    raise invalid_input_error(
                        f"{where}, line {reader.line_num}", f"{len(values)} fields", f"{len(columns)} as in the header"
                    )
                yield reader.line_num, dict(zip(columns, values, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise invalid_input_error(where, str(error), "a table in UTF-8") from error


def load_plain_pickle(path: Path) -> Any:
    """Load a pickle of plain containers, text and numbers.

    Raises LayoutmarkError for a damaged pickle and, before anything in it runs, for one that names any other object.
    """
    try:
        value = _PlainUnpickler(io.BytesIO(path.read_bytes())).load()
        _check_no_surrogates(value, f"file {path.name}")
        return value
    except LayoutmarkError:
        raise
    # A damaged pickle can raise nearly anything from inside the unpickler.
    except Exception as error:
        raise invalid_input_error(
            f"file {path.name}", f"{type(error).__name__}: {error}", "a pickle of plain values"
        ) from error


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise invalid_input_error(
            "pickle", f"the object {module}.{name}", "dict, list, tuple, text and numbers only",
            "Do not open this file: reading it would run code.",
        )  # fmt: skip

    def persistent_load(self, pid: Any) -> Any:  # noqa: ARG002
        raise invalid_input_error("pickle", "a persistent id", "dict, list, tuple, text and numbers only")


def _check_columns(
    columns: list[str], required: Sequence[str], pattern: re.Pattern[str] | None, separator: str, where: str
) -> None:
    next_step = "Name the columns in the first line."
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t|,"):
        next_step = f"The fields seem to be separated by something other than {separator!r}: set the delimiter."
    listing = ", ".join(columns) or "nothing"
    if missing := [name for name in required if name not in columns]:
        raise invalid_input_error(
            where, f"no column {missing[0]!r} among {listing}", "columns " + ", ".join(required), next_step
        )
    if pattern is not None and not any(map(pattern.fullmatch, columns)):
        raise invalid_input_error(
            where, f"no column like {pattern.pattern!r} among {listing}", "at least one such column", next_step
        )
    if duplicates := [name for n, name in enumerate(columns) if name in columns[:n]]:
        raise invalid_input_error(where, f"the column name {duplicates[0]!r} twice", "unique column names")


def _parse_json(text: str, where: str) -> Any:
    def build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            keys = [key for key, _ in pairs]
            raise _duplicate_key_error(where, next(key for key in keys if keys.count(key) > 1))
        return mapping

    try:
        value = json.loads(text, object_pairs_hook=build_object)
        if SURROGATE.search(text):
            _check_no_surrogates(value, where)
        return value
    except json.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno}"
        raise invalid_input_error(where, f"invalid JSON ({error.msg}, {position})", "valid JSON") from error
    except (ValueError, RecursionError) as error:
        raise invalid_input_error(where, f"unreadable JSON ({error})", "valid JSON") from error


def _duplicate_key_error(where: str, key: object) -> LayoutmarkError:
    return invalid_input_error(
        where, f"the key {key!r} twice in one object", "unique keys", "Remove or rename one of them."
    )


def _check_no_surrogates(value: Any, where: str) -> None:
    """Refuse plain values that contain a lone surrogate: no file could be written with it."""
    pending, seen = [value], set()
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if any("\ud800" <= character <= "\udfff" for character in item):
                raise invalid_input_error(where, f"a lone surrogate in {item[:40]!a}", "complete Unicode characters")
        elif isinstance(item, Mapping | list | tuple | set | frozenset) and id(item) not in seen:
            seen.add(id(item))
            pending += [*item, *item.values()] if isinstance(item, Mapping) else item
