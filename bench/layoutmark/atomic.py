"""Files and folders that are there in full or not at all, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from layoutmark.errors import LayoutmarkError


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, flush it to disk, and rename it into place; makes missing parents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for text, as UTF-8 with line ends as given."""
    write_bytes(path, text.encode("utf-8"))


@contextlib.contextmanager
def folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `path` to fill; it becomes `path` if the block ends well, else it is removed.

    With `replace` an existing folder is exchanged: it is renamed aside, then removed.  A kill between the two renames
    leaves no folder `path`, never a mixed one.  Raises LayoutmarkError if `path` exists and `replace` is not asked for.
    """
    if path.exists() and not replace:
        raise _exists(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            _sync(file)
        _sync_folder(temporary)
        _exchange(temporary, path, replace)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_folder(path.parent)


def _exchange(new: Path, path: Path, replace: bool) -> None:
    old = _temporary(path)
    if path.exists() and replace:
        os.rename(path, old)
    try:
        os.rename(new, path)
    except OSError as error:
        if old.exists():
            os.rename(old, path)
        raise _exists(path) from error
    shutil.rmtree(old, ignore_errors=True)


def _temporary(path: Path) -> Path:
    # Beside its target: a rename is atomic within one file system only.
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _sync(path: Path) -> None:
    if path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    elif path.is_dir():
        _sync_folder(path)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _exists(path: Path) -> LayoutmarkError:
    return LayoutmarkError(
        f"folder {path}", found="it is already there", expected="a free name", do="Choose another name or remove it."
    )
