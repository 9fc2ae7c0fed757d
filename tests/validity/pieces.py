"""Pieces of a long simulation, each kept when it is done: a part that was stopped goes on where it stood.

A piece is kept under all that it follows from: its arguments, the scripts of this folder, and the rooms of the package
that count and judge.  An edit of any of them makes it anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import layoutmark
from layoutmark.provenance import digest, digest_code

HERE, PACKAGE = Path(__file__).parent, Path(layoutmark.__file__).parent
ROOMS = ("compare", "features", "gate", "metrics", "statistics")
Plain = list[Any] | dict[str, Any]


@dataclass
class Pieces:
    """Pieces of one part in `folder`, one JSON file each; without a folder nothing is kept."""

    folder: Path | None
    code: str
    """What all pieces of the part follow from, besides their arguments."""

    @classmethod
    def of(cls, work: Path | None, part: str, *scripts: str) -> Pieces:
        """Those of a part, which follow from these scripts of the folder and from `ROOMS`."""
        texts = [(HERE / f"{name}.py").read_text("utf-8") for name in sorted({part, *scripts})]
        code = digest([texts, [digest_code(PACKAGE / room) for room in ROOMS]])
        return cls(None if work is None else work / part, code)

    def piece(self, arguments: Mapping[str, Any], make: Callable[[], Plain]) -> Plain:
        """What `make` gives for these arguments, out of the folder if it is there."""
        if self.folder is None:
            return make()
        path = self.folder / f"{digest([self.code, dict(arguments)])[:24]}.json"
        if path.is_file():
            found: Plain = json.loads(path.read_text("utf-8"))
            return found
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(made), "utf-8")
        unfinished.replace(path)  # a piece is whole or not there
        return made
