"""Replay recorded tensors with the method they were recorded for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from layoutmark.diffusion.golden import Difference
from layoutmark.errors import LayoutmarkError
from layoutmark.registry import MethodEntry

MAX_MESSAGE_LENGTH = 300
"""Maximum number of characters shown of another package's error message."""


def replay(entry: MethodEntry, folder: Path) -> Sequence[Difference]:
    """Differences that `golden.py` of a method reports for a folder of recorded tensors.

    Raises LayoutmarkError if the method has no `golden.py`, or the folder cannot be replayed.
    """
    if not (entry.folder / "golden.py").is_file():
        raise LayoutmarkError(
            f"method {entry.name!r}", found="no golden.py", expected="golden.py with replay(folder) -> [Difference]",
            do="See layoutmark.diffusion.golden.",
        )  # fmt: skip
    package = entry.load().__package__
    try:
        differences: Sequence[Difference] = importlib.import_module(f"{package}.golden").replay(folder)
    except LayoutmarkError:
        raise
    except KeyError as error:
        raise LayoutmarkError(
            f"golden folder {folder.name!r}", found=f"no tensor or entry {error}",
            expected=f"a recording that method {entry.name!r} can replay",
            do="Run with --debug to see where it is read.",
        ) from error  # fmt: skip
    except Exception as error:
        raise LayoutmarkError(
            f"golden folder {folder.name!r}",
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:MAX_MESSAGE_LENGTH]}",
            expected=f"a recording that method {entry.name!r} can replay", do="Run with --debug to see the traceback.",
        ) from error  # fmt: skip
    if not any(difference.tolerance is not None for difference in differences):
        raise LayoutmarkError(
            f"golden folder {folder.name!r}", found="no tensors to compare", expected="recorded tensors",
            do="Check the folder.",
        )  # fmt: skip
    return differences
