"""Pausing Python's cycle collector while large files are read."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_garbage_collection() -> Iterator[None]:
    """Pause the cycle collector within this block.

    Reading a large file creates millions of objects that all stay alive, and the collector scans them repeatedly to
    free nothing: a sixth of the time for a leaderboard.

    >>> import gc
    >>> with paused_garbage_collection():
    ...     gc.isenabled()
    False
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
