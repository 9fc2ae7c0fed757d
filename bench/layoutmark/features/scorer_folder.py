"""A scorer's folder: which files it must hold, and the digest of what it holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from layoutmark.errors import LayoutmarkError
from layoutmark.provenance import digest_file, digest_files

WEIGHTS = ".safetensors"
CONTENT = frozenset({WEIGHTS, ".json", ".txt", ".model"})
"""Suffixes of files that can change a number; cards and pictures beside them cannot."""


def require(folder: Path, files: Iterable[str]) -> None:
    """Raise LayoutmarkError unless all files are there."""
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise LayoutmarkError(
            f"scorer folder {folder.name!r}",
            found="no " + ", ".join(missing),
            expected="its configuration as JSON and its weights as safetensors",
            do="Check the path, or train or fetch the stack again.",
        )


def read_json(path: Path) -> Any:
    """Read a JSON file of a scorer; LayoutmarkError if it is not JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise LayoutmarkError(
            f"{path.parent.name}/{path.name}", found=str(error), expected="a JSON file", do="Write it again."
        ) from error


def folder_digest(folder: Path, expected: Mapping[str, str]) -> str:
    """sha256 over the names and contents of a scorer's files; those named in `expected` must have that sha256."""
    for name, value in expected.items():
        require(folder, [name])
        actual = digest_file(folder / name)
        if actual != value:
            raise LayoutmarkError(
                f"{folder.name}/{name}",
                found=f"sha256 {actual[:16]}...",
                expected=f"{value[:16]}... as the stack card says",
                do="Restore the file, or write a card of another version.",
            )
    return digest_files(folder, [p for p in folder.rglob("*") if p.is_file() and p.suffix in CONTENT])
