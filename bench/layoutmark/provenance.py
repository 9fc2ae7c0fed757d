"""What made a number, as digests: canonical JSON, hashes of files, folders and pixels, versions of packages."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

VERSIONED = (
    "layoutmark", "numpy", "scipy", "pillow", "pycocotools", "torch", "torchvision", "diffusers", "transformers",
    "open_clip_torch", "ultralytics",
)  # fmt: skip


def canonical(data: Any) -> str:
    """JSON with sorted keys, no spaces, no NaN: equal data give equal text on every platform."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(data: Any) -> str:
    """sha256 (hex) of the canonical JSON of plain data."""
    return hashlib.sha256(canonical(data).encode("ascii")).hexdigest()


def digest_pixels(pixels: npt.NDArray[np.uint8]) -> str:
    """sha256 of an image's shape and its decoded bytes (uint8, any shape), not of any file format."""
    head = canonical(list(pixels.shape)).encode("ascii")
    return hashlib.sha256(head + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def digest_file(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_files(root: Path, paths: Iterable[Path]) -> str:
    """One sha256 over several files: their names relative to `root` and their contents, in sorted order."""
    return digest({p.relative_to(root).as_posix(): digest_file(p) for p in sorted(paths)})


def digest_code(folder: Path) -> str:
    """sha256 over the Python and TOML files of a folder, sub-folders included."""
    files = [p for p in folder.rglob("*") if p.suffix in (".py", ".toml") and "__pycache__" not in p.parts]
    return digest_files(folder, files)


def versions() -> dict[str, str]:
    """Versions of the packages that can change a number; a package that is not installed is left out."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def protocol_hash(parts: Mapping[str, Any]) -> str:
    """The first 16 hex digits of the digest of everything that can change a number, settings of methods excepted."""
    return digest(dict(parts))[:16]
