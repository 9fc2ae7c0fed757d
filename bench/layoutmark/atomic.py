r"""Atomic writes: a file or folder appears complete or not at all, even if the process is killed while writing.

Data goes to a temporary name beside the target, is flushed to disk, and is renamed into place.  Plug-ins may use this
module too:

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as name:
...     path = Path(name) / "new" / "table.csv"
...     write_text(path, "a,b\n")
...     with staged_file(path) as staging:
...         _ = staging.write_text("a,b\n1,2\n")
...     path.read_text(), [p.name for p in path.parent.iterdir()]
('a,b\n1,2\n', ['table.csv'])
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from layoutmark.errors import LayoutmarkError


def write_bytes(path: Path, data: bytes) -> None:
    r"""Write `data` to `path` atomically, replacing an existing file; creates missing parent folders.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as name:
    ...     write_bytes(Path(name, "pixels.bin"), b"\x00\xff")
    ...     Path(name, "pixels.bin").read_bytes()
    b'\x00\xff'
    """
    with staged_file(path) as staging, open(staging, "xb") as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    r"""`write_bytes` for text: UTF-8, line endings unchanged.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as name:
    ...     write_text(Path(name, "note.txt"), "ä\r\n")
    ...     Path(name, "note.txt").read_bytes()
    b'\xc3\xa4\r\n'
    """
    write_bytes(path, text.encode("utf-8"))


@contextlib.contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield an unused path beside `path` to write to; the file there replaces `path` if the block succeeds.

    For writers that take a path, such as ``torch.save`` or ``figure.savefig``.  The yielded name ends in ``.tmp``, so
    give the file format explicitly.  If the block raises, `path` is untouched and the temporary file is removed.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as name:
    ...     with staged_file(Path(name, "model.pt")) as staging:
    ...         size = staging.write_bytes(b"weights")
    ...         early = Path(name, "model.pt").exists()
    ...     early, Path(name, "model.pt").read_bytes()
    (False, b'weights')
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = _temporary(path)
    try:
        yield staging
        _sync(staging)
        os.replace(staging, path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


@contextlib.contextmanager
def staged_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `path` to fill; it becomes `path` if the block succeeds and is removed if it raises.

    With `replace` an existing folder is renamed aside and then removed.  A kill between the two renames leaves no
    folder at `path`, never a mixture of old and new.  Raises LayoutmarkError if `path` exists and `replace` is false.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as name:
    ...     with staged_folder(Path(name, "sheets")) as staging:
    ...         write_text(staging / "a.txt", "a")
    ...         write_text(staging / "b.txt", "b")
    ...     sorted(file.name for file in Path(name, "sheets").iterdir())
    ['a.txt', 'b.txt']
    """
    if path.exists() and not replace:
        raise _already_exists(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = _temporary(path)
    staging.mkdir()
    try:
        yield staging
        for file in staging.rglob("*"):
            _sync(file)
        _sync_folder(staging)
        _exchange(staging, path, replace)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
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
        raise _already_exists(path) from error
    shutil.rmtree(old, ignore_errors=True)


def _temporary(path: Path) -> Path:
    # Beside its target: a rename is atomic only within one file system.
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _sync(path: Path) -> None:
    if path.is_dir():
        _sync_folder(path)
    elif path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _already_exists(path: Path) -> LayoutmarkError:
    return LayoutmarkError(
        f"folder {path}",
        found="it already exists",
        expected="an unused name",
        do="Choose another name or remove the folder.",
    )
