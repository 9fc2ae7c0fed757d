"""Reading files of unknown hands: what cannot be read is refused, naming file, line and field.

Every function here raises LayoutmarkError (a file is refused) or `Skip` (a record is left out), never anything else.
"""

from __future__ import annotations

import csv
import io
import json
import math
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from layoutmark.errors import LayoutmarkError, MissingPackage
from layoutmark.ingest.ledger import Skip

LONGEST_FIELD = 1 << 24
"""Most characters in a field of a table; Open Images lists hundreds of clicks in one."""
HALF = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
"""Where a text may hold half a character: one of the two surrogates that only together mean one."""
WHOLE = re.compile(r"[-+]?[0-9]{1,40}")


def refused(place: str, found: str, expected: str, do: str = "Correct the file.") -> LayoutmarkError:
    """The error for a file that cannot be used; `place` names the file and, where known, line and field."""
    return LayoutmarkError(place, found=found, expected=expected, do=do)


def text_of(path: Path) -> str:
    """A text file, UTF-8 with or without a byte order mark."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise refused(f"file {path.name}", str(error), "a text file in UTF-8") from error


def json_of(path: Path) -> Any:
    """A JSON file.  NaN and Infinity are let through: the numbers are checked where they are used."""
    return _json(text_of(path), f"file {path.name}")


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """(line number from 1, value) for each line of a JSONL file, streamed; blank lines are no records."""
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _json(line, f"file {path.name}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise refused(f"file {path.name}", str(error), "a text file in UTF-8") from error


def yaml_of(path: Path) -> Any:
    """A YAML file of plain values.  Raises MissingPackage without PyYAML, which many packages bring."""
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise MissingPackage.of(f"file {path.name}", "yaml", "torch") from error

    class Loader(yaml.SafeLoader):  # type: ignore[misc,unused-ignore]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            if twice := [key for n, key in enumerate(keys) if key in keys[:n]]:
                raise _twice(f"file {path.name}, line {node.start_mark.line + 1}", twice[0])
            found: dict[Any, Any] = super().construct_mapping(node, deep)
            return found

    try:
        return yaml.load(text_of(path), Loader)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        told = " ".join(str(error).split())
        raise refused(f"file {path.name}", f"no YAML ({told})", "valid YAML") from error


def table_rows(
    path: Path,
    needs: Sequence[str],
    *,
    header: Sequence[str] | None = None,
    delimiter: str | None = None,
    pattern: re.Pattern[str] | None = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number from 1, row by column name) of a CSV or TSV file, streamed.

    `needs` are the columns that must be there, and one that fits `pattern` wholly.  `header` names the columns of a
    file that has no header line.  `delimiter` is a tab in .tsv and .tab files and a comma elsewhere, unless given.
    Refuses a file without those columns, and a row with too few or too many fields.
    """
    csv.field_size_limit(LONGEST_FIELD)
    where = f"file {path.name}"
    between = delimiter or ("\t" if path.suffix.lower() in (".tsv", ".tab") else ",")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=between)
            columns = list(header) if header is not None else [c.strip() for c in next(reader, [])]
            told = "Name the columns in the first line."
            if len(columns) == 1 and any(mark in columns[0] for mark in ";\t|,"):
                told = f"It holds other marks than {between!r}: say which one stands between fields."
            among = ", ".join(columns) or "nothing"
            if missing := [c for c in needs if c not in columns]:
                raise refused(
                    f"{where}, line 1", f"no column {missing[0]!r} among {among}", "columns " + ", ".join(needs), told
                )
            if pattern is not None and not any(map(pattern.fullmatch, columns)):
                raise refused(f"{where}, line 1", f"no column like {pattern.pattern!r} among {among}", "one", told)
            if twice := [name for n, name in enumerate(columns) if name in columns[:n]]:
                raise refused(f"{where}, line 1", f"the column name {twice[0]!r} twice", "every name once")
            for values in reader:
                if not values:
                    continue
                if len(values) != len(columns):
                    raise refused(
                        f"{where}, line {reader.line_num}", f"{len(values)} fields", f"{len(columns)} as in the header"
                    )
                yield reader.line_num, dict(zip(columns, values, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise refused(where, str(error), "a table in UTF-8") from error


def plain_pickle(path: Path) -> Any:
    """A pickle of plain containers, text and numbers.  One that names anything else is refused before it runs."""
    try:
        found = _Plain(io.BytesIO(path.read_bytes())).load()
        _check_whole(found, f"file {path.name}")
        return found
    except LayoutmarkError:
        raise
    # A damaged pickle can raise nearly anything from inside the unpickler.
    except Exception as error:
        raise refused(f"file {path.name}", f"{type(error).__name__}: {error}", "a pickle of plain values") from error


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise refused(
            "pickle", f"the object {module}.{name}", "dict, list, tuple, text and numbers only",
            "Do not open this file: reading it would run code.",
        )  # fmt: skip

    def persistent_load(self, pid: Any) -> Any:  # noqa: ARG002
        raise refused("pickle", "a persistent id", "dict, list, tuple, text and numbers only")


def listed(value: Any, place: str) -> list[Any]:
    """`value` if it is a list; refuses the file otherwise."""
    if not isinstance(value, list):
        raise refused(place, kind_of(value), "a list")
    return value


def mapped(value: Any, place: str) -> dict[str, Any]:
    """`value` if it is an object (a dict); refuses the file otherwise."""
    if not isinstance(value, dict):
        raise refused(place, kind_of(value), "an object")
    return value


def number(value: Any, name: str) -> float:
    """A finite number, also one written as text.  Raises Skip."""
    try:
        found = float("nan") if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise Skip(f"{name} is no finite number")
    return found


def whole(value: Any, name: str) -> int:
    """A whole number, also one written as text, of any size without loss.  Raises Skip."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    raise Skip(f"{name} is no whole number")


def numbers(value: Any, count: int, name: str) -> list[float]:
    """`count` finite numbers.  Raises Skip."""
    if not isinstance(value, list | tuple) or len(value) != count:
        raise Skip(f"{name} is not {count} numbers")
    return [number(v, name) for v in value]


def field(record: Any, name: str) -> Any:
    """The value of a record's field.  Raises Skip if the record is no object or lacks it."""
    if not isinstance(record, Mapping):
        raise Skip("not an object")
    if name not in record:
        raise Skip(f"no field {name!r}")
    return record[name]


def text(value: Any, name: str) -> str:
    """Text that is not empty, blanks kept.  Raises Skip."""
    if not isinstance(value, str):
        raise Skip(f"{name} is no text")
    if not value.strip():
        raise Skip(f"{name} is empty")
    return value


def kind_of(value: Any) -> str:
    """What a value is, for an error."""
    return "nothing" if value is None else f"a {type(value).__name__}"


def _json(data: str, place: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            raise _twice(place, next(key for key in keys if keys.count(key) > 1))
        return found

    try:
        found = json.loads(data, object_pairs_hook=once)
        if HALF.search(data):
            _check_whole(found, place)
        return found
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise refused(place, f"no JSON ({error.msg}, {at})", "valid JSON") from error
    except (ValueError, RecursionError) as error:
        raise refused(place, f"no readable JSON ({error})", "valid JSON") from error


def _twice(place: str, key: object) -> LayoutmarkError:
    return refused(place, f"the key {key!r} twice in one object", "every key once", "Keep one, or rename the other.")


def _check_whole(value: Any, place: str) -> None:
    """Refuse plain values with a text that holds half a character: no file could be written with it."""
    waiting, seen = [value], set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if any("\ud800" <= character <= "\udfff" for character in one):
                raise refused(place, f"half a character in {one[:40]!a}", "whole characters (no lone surrogate)")
        elif isinstance(one, Mapping | list | tuple | set | frozenset) and id(one) not in seen:
            seen.add(id(one))
            waiting += [*one, *one.values()] if isinstance(one, Mapping) else one
