"""A scorer's folder: the files it must hold, and the digest of its content."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from layoutmark.errors import LayoutmarkError
from layoutmark.provenance import digest_file, digest_files

WEIGHTS_SUFFIX = ".safetensors"
CONTENT_SUFFIXES = frozenset({WEIGHTS_SUFFIX, ".json", ".txt", ".model"})
"""Suffixes of files that can change a number; cards and images beside them cannot."""


def require_files(folder: Path, files: Iterable[str]) -> None:
    """Raise LayoutmarkError unless the folder has all these files."""
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        raise LayoutmarkError(
            f"scorer folder {folder.name!r}",
            found="no " + ", ".join(missing),
            expected="its configuration as JSON and its weights as safetensors",
            do="Check the path, or train or download the stack again.",
        )


def read_json(path: Path) -> Any:
    """Read a JSON file of a scorer.  Raises LayoutmarkError if it is not valid JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise LayoutmarkError(
            f"{path.parent.name}/{path.name}", found=str(error), expected="a JSON file", do="Restore the file."
        ) from error


def folder_digest(folder: Path, expected: Mapping[str, str]) -> str:
    """Return the sha256 over names and contents of a scorer's files.

    Raises LayoutmarkError if a file named in `expected` does not have the sha256 given there.
    """
    for name, expected_digest in expected.items():
        require_files(folder, [name])
        actual = digest_file(folder / name)
        if actual != expected_digest:
            raise LayoutmarkError(
                f"{folder.name}/{name}",
                found=f"sha256 {actual[:16]}...",
                expected=f"{expected_digest[:16]}... as the stack card says",
                do="Restore the file, or write a card of another version.",
            )
    return digest_files(folder, [p for p in folder.rglob("*") if p.is_file() and p.suffix in CONTENT_SUFFIXES])
