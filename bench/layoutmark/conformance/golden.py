"""Replay of recorded tensors by the method they were recorded for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from layoutmark.diffusion.golden import Difference
from layoutmark.errors import LayoutmarkError
from layoutmark.registry import MethodEntry

MOST = 300
"""Letters of another package's error that are shown."""


def replay(entry: MethodEntry, folder: Path) -> Sequence[Difference]:
    """What `golden.py` of a method says of a folder of recorded tensors.

    Raises LayoutmarkError if the method has no `golden.py`, or the folder cannot be replayed.
    """
    if not (entry.folder / "golden.py").is_file():
        raise LayoutmarkError(
            f"method {entry.name!r}", found="no golden.py", expected="golden.py with replay(folder) -> [Difference]",
            do="See layoutmark.diffusion.golden.",
        )  # fmt: skip
    package = entry.load().__package__
    try:
        found: Sequence[Difference] = importlib.import_module(f"{package}.golden").replay(folder)
    except LayoutmarkError:
        raise
    except KeyError as error:
        raise LayoutmarkError(
            f"golden folder {folder.name!r}", found=f"no tensor or entry {error}",
            expected=f"a recording that method {entry.name!r} can replay", do="--debug shows where it is asked for.",
        ) from error  # fmt: skip
    except Exception as error:
        raise LayoutmarkError(
            f"golden folder {folder.name!r}", found=f"{type(error).__name__}: {' '.join(str(error).split())[:MOST]}",
            expected=f"a recording that method {entry.name!r} can replay", do="--debug shows where it broke.",
        ) from error  # fmt: skip
    if not any(difference.tolerance is not None for difference in found):
        raise LayoutmarkError(
            f"golden folder {folder.name!r}", found="nothing that can be compared", expected="recorded tensors",
            do="Check the folder.",
        )  # fmt: skip
    return found
