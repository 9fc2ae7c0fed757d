"""Locks between processes for files that are read, changed and written back."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from layoutmark.errors import LayoutmarkError
from layoutmark.store.folders import home_folder

MAX_WAIT_SECONDS = 120.0
"""Far longer than any change made under a lock takes."""


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Let one process at a time change the file or folder `path`; the others wait for their turn.

    The lock is advisory and is kept in the working data, so it leaves nothing beside `path`.  Raises LayoutmarkError
    after `MAX_WAIT_SECONDS`.
    """
    from filelock import FileLock, Timeout

    name = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    lock_file = home_folder() / "locks" / f"{name}.lock"
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock_file, timeout=MAX_WAIT_SECONDS):
            yield
    except Timeout as error:
        raise LayoutmarkError(
            str(path), found=f"locked by another process for {MAX_WAIT_SECONDS:.0f} s", expected="exclusive access",
            do=f"Wait for the other process; if there is none, remove {lock_file}.",
        ) from error  # fmt: skip
