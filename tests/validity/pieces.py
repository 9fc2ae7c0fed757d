"""Pieces of a long simulation, each stored when it is done, so that an interrupted simulation resumes.

The key of a piece covers everything it depends on: its arguments, the scripts of this folder, and the packages that
count and judge.  Editing any of them recomputes it.
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
PACKAGES = ("compare", "features", "gate", "metrics", "statistics")
Plain = list[Any] | dict[str, Any]


@dataclass
class Pieces:
    """Pieces of one simulation in `folder`, one JSON file each; without a folder nothing is stored."""

    folder: Path | None
    code: str
    """Digest of everything that all pieces depend on besides their arguments."""

    @classmethod
    def of(cls, work: Path | None, part_name: str, *scripts: str) -> Pieces:
        """The pieces of a simulation, which depend on these scripts of the folder and on `PACKAGES`."""
        texts = [(HERE / f"{name}.py").read_text("utf-8") for name in sorted({part_name, *scripts})]
        code = digest([texts, [digest_code(PACKAGE / room) for room in PACKAGES]])
        return cls(None if work is None else work / part_name, code)

    def piece(self, arguments: Mapping[str, Any], make: Callable[[], Plain]) -> Plain:
        """The result of `make` for these arguments, read from the folder if it is stored."""
        if self.folder is None:
            return make()
        path = self.folder / f"{digest([self.code, dict(arguments)])[:24]}.json"
        if path.is_file():
            stored: Plain = json.loads(path.read_text("utf-8"))
            return stored
        value = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(value), "utf-8")
        unfinished.replace(path)  # a piece is complete or absent
        return value
